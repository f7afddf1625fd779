"""Servers on the loopback that behave as well, or as badly, as servers do."""

import gzip
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.config.schema import WebSource
from tests.sample import FOLDER, NAMES

Answer = Callable[[BaseHTTPRequestHandler, str], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what is tested."""


class Site:
    """A server that gives every request to `answer`, with the name of the file, and remembers the paths."""

    def __init__(self) -> None:
        self.answer: Answer = good
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.answer(self, self.path.rpartition("/")[2])

            def log_message(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/files"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def source(self) -> WebSource:
        return WebSource(kind="web", address=self.address)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def zipped(name: str) -> bytes:
    path: Path = FOLDER / name
    return path.read_bytes()


def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def good(request: BaseHTTPRequestHandler, name: str) -> None:
    send(request, zipped(name))


def html_page(request: BaseHTTPRequestHandler, _name: str) -> None:
    send(request, b"<!DOCTYPE html><html>Sign in to the airport's network</html>", Content_Type="text/html")


def truncated_gzip(request: BaseHTTPRequestHandler, name: str) -> None:
    send(request, zipped(name)[:-9])


def damaged_gzip(request: BaseHTTPRequestHandler, name: str) -> None:
    data = bytearray(zipped(name))
    data[-6] ^= 1
    send(request, bytes(data))


def cut_off(request: BaseHTTPRequestHandler, name: str) -> None:
    send(request, zipped(name)[:70_000], Content_Length=str(len(zipped(name))))


def trailing(request: BaseHTTPRequestHandler, name: str) -> None:
    send(request, zipped(name) + b"<!-- served by -->")


def empty(request: BaseHTTPRequestHandler, _name: str) -> None:
    send(request, b"")


def not_found(request: BaseHTTPRequestHandler, _name: str) -> None:
    send(request, b"no such file", status=404)


def circle(request: BaseHTTPRequestHandler, _name: str) -> None:
    send(request, b"", status=302, Location=request.path)


def bomb(request: BaseHTTPRequestHandler, _name: str) -> None:
    send(request, gzip.compress(bytes(5_000_000), compresslevel=1))


def swapped(request: BaseHTTPRequestHandler, name: str) -> None:
    names = [f"{each}.gz" for each in NAMES.values()]
    send(request, zipped(names[(names.index(name) + 2) % 4]))


def one_pixel_changed(request: BaseHTTPRequestHandler, name: str) -> None:
    data = bytearray(gzip.decompress(zipped(name)))
    data[-1] ^= 1
    send(request, gzip.compress(bytes(data)))


def drip(request: BaseHTTPRequestHandler, name: str) -> None:
    request.send_response(200)
    request.end_headers()
    for byte in zipped(name)[:60]:
        request.wfile.write(bytes([byte]))
        time.sleep(0.05)


def dripping_header(request: BaseHTTPRequestHandler, _name: str) -> None:
    request.send_response(200)
    request.flush_headers()
    for letter in "X-Long: " + "long" * 100:
        request.wfile.write(letter.encode())
        time.sleep(0.05)


def stall(request: BaseHTTPRequestHandler, name: str) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(zipped(name)[:100])
    time.sleep(1)


def silence(_request: BaseHTTPRequestHandler, _name: str) -> None:
    time.sleep(1)


def hang_up(request: BaseHTTPRequestHandler, _name: str) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)
