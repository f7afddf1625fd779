"""A small HTTP proxy that stands before a server and spoils what passes: late, lost, refused, replaced."""

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

METHODS = "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"
WRITES = "POST", "PUT", "PATCH", "DELETE"
READING = "search", "get-history", "get_history"
"""Parts of the paths of those POSTs that only ask."""

HOP = "connection", "keep-alive", "transfer-encoding", "content-length"
PAGE = b"<!DOCTYPE html><html><body><h1>Sign in to the network</h1></body></html>"


@dataclass(frozen=True)
class Request:
    """What a fault may look at; `number` counts all requests, `write` those that change the store, from 1."""

    method: str
    path: str
    number: int
    write: int | None


Fault = Callable[[Request], str]
"""What happens to a request: `pass`, `500`, `lost` (done, but the answer is not given), `cut` (not done, no answer),
`stall` (no answer, the connection stays), `html`, or seconds of delay as a number."""


def passing(_request: Request) -> str:
    return "pass"


class Proxy:
    """Listens on 127.0.0.1 and hands on to `port`; `fault` may be exchanged at any time."""

    def __init__(self, port: int, fault: Fault = passing) -> None:
        self.fault = fault
        self.seen: list[tuple[str, str]] = []
        self._target = port
        self._closed = threading.Event()
        self._numbers, self._writes = itertools.count(1), itertools.count(1)
        self._counting = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy._answer(self, body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        for method in METHODS:
            setattr(Handler, f"do_{method}", Handler._take)
        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        does = self.fault(self._request(handler))
        self.seen.append((f"{handler.command} {handler.path.partition('?')[0]}", does))
        if does == "stall":
            self._closed.wait()
        elif does == "500":
            _send(handler, 500, {"Content-Type": "text/plain"}, b"Internal Server Error")
            return
        elif does == "html":
            _send(handler, 200, {"Content-Type": "text/html"}, PAGE)
            return
        elif does not in ("cut", "lost", "pass"):
            time.sleep(float(does))
        answer = None if does in ("cut", "stall") else self._forwarded(handler, body)
        if answer is None or does == "lost":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            _send(handler, *answer)

    def _request(self, handler: BaseHTTPRequestHandler) -> Request:
        path = handler.path.partition("?")[0]
        writes = handler.command in WRITES and not any(part in path for part in READING)
        with self._counting:
            number = next(self._numbers)
            return Request(handler.command, path, number, next(self._writes) if writes else None)

    def _forwarded(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """The server's own answer; None when it gave none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in (*HOP, "host")}
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_arguments: Any) -> None:
        """A client that went away is what this is for."""


def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response_only(status)
    for name, value in headers.items():
        if name.lower() not in HOP:
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
