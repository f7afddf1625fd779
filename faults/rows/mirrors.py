"""A server that keeps fetch waiting, sends it round in circles, or cuts it off; fetch killed while it receives."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from faults.campaign import Injection, Row
from faults.images import assert_as_without, measured, refused_by, repro, served, whole
from faults.reference import copied, litter
from pipeline.data.download import Timeouts
from tests.harness.mirrors import Answer, circle, cut_off, hang_up, zipped
from tests.harness.project import Project
from tests.sample import FOLDER, NAMES

LONG = 600
"""Seconds for which a server goes on if it is let."""

BOUND = Timeouts().connect + Timeouts().window + 15
"""Seconds after which a source without a good answer must have been left; 15 are for the start of Python."""

FIRST = next(iter(NAMES.values()))


def drip(request: BaseHTTPRequestHandler, name: str) -> None:
    """The file, a byte a second."""
    request.send_response(200)
    request.end_headers()
    _drip(request, zipped(name))


def drip_header(request: BaseHTTPRequestHandler, _name: str) -> None:
    """A header that does not end, a byte a second: no read ever times out."""
    request.send_response(200)
    request.flush_headers()
    _drip(request, b"X-Long: " + b"long" * LONG)


def silent(_request: BaseHTTPRequestHandler, _name: str) -> None:
    """A connection, and then nothing."""
    time.sleep(LONG)


def stalled(request: BaseHTTPRequestHandler, name: str) -> None:
    """Half of the file, and then nothing."""
    data = zipped(name)
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[: len(data) // 2])
    time.sleep(LONG)


def _drip(request: BaseHTTPRequestHandler, data: bytes) -> None:
    for byte in data[:LONG]:
        request.wfile.write(bytes([byte]))
        time.sleep(1)


ANSWERS: dict[str, Answer] = {
    "sends one byte a second": drip,
    "sends a header, one byte a second": drip_header,
    "accepts and says nothing": silent,
    "stalls in the middle": stalled,
    "redirects in a circle": circle,
    "cuts off in the middle": cut_off,
    "hangs up": hang_up,
}
REFUSES = "refuses connections"
KILLED = "SIGKILL to fetch in the middle of a download"
TRIALS = [(what, followed) for what in (*ANSWERS, REFUSES) for followed in (True, False)] + [(KILLED, True)] * 4
"""The last four: every file of the four is the one in whose middle fetch dies."""


def trial(injection: Injection) -> str:
    what, followed = TRIALS[injection.number % len(TRIALS)]
    project = copied(injection.shared / "start", injection.folder / "project")
    if what == KILLED:
        return _killed(injection, project)
    injection.says(f"the server {what}; {'a good source is next' if followed else 'there is no other source'}")
    with _server(what) as address:
        return _fetched(injection, project, {"kind": "web", "address": address}, followed)


def _fetched(injection: Injection, project: Project, source: dict[str, str], followed: bool) -> str:
    good = {"kind": "folder", "path": str(FOLDER)}
    project.edit_params({"data.sources": [source, good] if followed else [source]})
    began = time.monotonic()
    status, output, _ = measured(project, "python", "-m", "pipeline.fetch")
    seconds = time.monotonic() - began
    assert seconds < BOUND, f"{seconds:.0f} s\n{output}"
    if followed:
        assert status == 0, output
        assert f"{FIRST}: from {FOLDER}/{FIRST}.gz" in output
    else:
        refused_by(status, output, f"error: {FIRST}: no source serves it.\n       {source['address']}: ")
        assert not (project.path / "data/raw").exists()
        assert litter(project.path) == []
        project.edit_params({"data.sources": [good]})
    repro(project)
    assert_as_without(project, injection.shared)
    return "next source taken" if followed else "refused, then made from a good source"


@contextmanager
def _server(what: str) -> Iterator[str]:
    """The address of a server that does so."""
    if what == REFUSES:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{unused.getsockname()[1]}/files"
    else:
        with served(ANSWERS[what]) as site:
            yield site.address


def _killed(injection: Injection, project: Project) -> str:
    """Nothing of the download counts, and nothing of it is left once the command has been run again."""
    victim = list(NAMES.values())[injection.number % len(NAMES)]
    target = injection.random.choice(("fetch alone", "dvc and fetch"))
    reached = threading.Event()

    def half(request: BaseHTTPRequestHandler, name: str) -> None:
        data = zipped(name)
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: len(data) // 2] if name == f"{victim}.gz" and not reached.is_set() else data)
        if name == f"{victim}.gz" and not reached.is_set():
            reached.set()
            time.sleep(LONG)

    injection.says(f"SIGKILL to {target} when half of {victim}.gz has been sent")
    command = ("python", "-m", "pipeline.fetch") if target == "fetch alone" else ("dvc", "repro", "fetch")
    with served(half) as site:
        project.edit_params({"data.sources": [{"kind": "web", "address": site.address}]})
        with project.start(*command, NO_PROXY="127.0.0.1") as process:
            assert reached.wait(60), "was never asked"
            time.sleep(injection.random.uniform(0, 1))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        assert not (project.path / "data/raw").exists(), "half a download counts"
        repro(project)
    assert_as_without(project, injection.shared)
    return "fetched again"


ROW = Row(
    name="mirrors",
    fault="servers that refuse, say nothing, stall, drip one byte a second, redirect in circles, cut off, hang up; "
    "SIGKILL to fetch in the middle of a download",
    must_hold=f"left within {BOUND:.0f} s for the next source, or told in a sentence; nothing of a killed download "
    "counts, and the next fetch clears it away",
    times=len(TRIALS),
    short=1,
    trial=trial,
    prepare=whole,
    jobs=4,
)
