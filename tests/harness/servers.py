"""What a team's page starts, on this machine alone: PostgreSQL of a test's own, and servers on ports that are free."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HOST = "127.0.0.1"
PATIENCE = 300.0
"""Seconds in which a server starts on a machine that does much else."""

GRPC = 10_000
"""By so much the second port of each of SeaweedFS's servers is higher."""


def free_port() -> int:
    """A port that nobody listens on, nor on the one GRPC above it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind((HOST, port))
            second.bind((HOST, port + GRPC))
            return port
    raise AssertionError("no port is free")


def wait_for(port: int, server: "subprocess.Popen[str]") -> None:
    """Wait until somebody listens on the port, while the server runs."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        assert server.poll() is None, f"{server.args!r} ended"
        assert time.monotonic() < deadline, f"{server.args!r} does not listen on {port}"
        time.sleep(0.2)


def end(server: "subprocess.Popen[str]", number: signal.Signals = signal.SIGTERM) -> None:
    """End a server with all of its processes."""
    for one in (number, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, one)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=20)


def postgresql_programs() -> Path:
    """Their folder. Root gets Debian's package where there are none; without them a test is skipped, in CI it fails."""
    if (folder := _installed()) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (("update", "-qq"), ("install", "-yqq", "--no-install-recommends", "postgresql")):
            subprocess.run(["apt-get", *words], env=environment, check=False, stdout=subprocess.DEVNULL)
        folder = _installed()
    if folder is not None:
        return folder
    missing = "there is no PostgreSQL on this machine (Debian: apt-get install postgresql)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def _installed() -> Path | None:
    folders = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return folders[-1] if folders else (Path(found).parent if found else None)


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[int, Path]]:
    """A PostgreSQL that asks for passwords over the network: its port, and the folder of its socket, which asks for
    none.
    """
    programs, port = postgresql_programs(), free_port()
    # A socket's path is short, and PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        shutil.chown(folder, owner)
    data = str(folder / "data")
    make = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
    options = {"cwd": folder, "user": owner if os.geteuid() == 0 else None, "text": True, "stdout": subprocess.DEVNULL}
    subprocess.run(make, check=True, **options)  # type: ignore[call-overload]
    serve = [str(programs / "postgres"), "-D", data, "-k", str(folder), "-p", str(port), "-h", HOST, "-F"]
    server = subprocess.Popen(serve, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        wait_for(port, server)
        yield port, folder
    finally:
        end(server, signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)
