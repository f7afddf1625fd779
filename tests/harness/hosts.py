"""Hosts of this machine's own: each with a network, processes and a /tmp/ray of its own, on one wire that leads nowhere
else. Needs root.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.harness.project import Project

NET = "10.213.77"
SHARED_PLACE = Path("/tmp/ray")  # noqa: S108 - where Ray keeps what it does, by default


class Host:
    """A host whose processes end with it."""

    def __init__(self, wire: str, number: int, folder: Path) -> None:
        self.wire, self.name, self.end = wire, f"{wire}h{number}", f"{wire}e{number}"
        self.address, self.folder = f"{NET}.{number}", folder
        folder.mkdir()
        _ip("netns", "add", self.name)
        _ip("link", "add", self.end, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self.plug()
        _ip("link", "set", self.end, "up")
        for words in (f"addr add {self.address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            _ip("-n", self.name, *words.split())
        # A route for all else, on which nothing is: by it Ray finds which address is its own.
        _ip("-n", self.name, "route", "add", "default", "dev", "eth0")
        SHARED_PLACE.mkdir(exist_ok=True)
        first = f"mount --bind {folder} {SHARED_PLACE} && echo there && exec sleep infinity"
        own = "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", first
        self._own = subprocess.Popen(("ip", "netns", "exec", self.name, *own), stdout=subprocess.PIPE, text=True)
        assert self._own.stdout is not None
        assert self._own.stdout.readline() == "there\n"
        (init,) = psutil.Process(self._own.pid).children()
        self._first = init.pid

    def words(self, project: Project, block: str) -> tuple[str, ...]:
        """The command that runs a block of shell commands on the host, in the folder of the project."""
        enter = "nsenter", "-t", str(self._first), "-m", "-p", "-n", "--"
        return *enter, "bash", "-euo", "pipefail", "-c", f"cd {project.path}\n{block}"

    def processes(self) -> list[str]:
        """The commands of all that runs on the host."""
        own = [one for one in psutil.process_iter() if _namespace(one.pid) == _namespace(self._first)]
        return [" ".join(one.cmdline()) for one in own if one.pid != self._first]

    def plug(self) -> None:
        _ip("link", "set", self.end, "master", self.wire)

    def unplug(self) -> None:
        """What it sends reaches nobody."""
        _ip("link", "set", self.end, "nomaster")

    def close(self) -> None:
        self._own.kill()
        self._own.communicate()
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts, gone with the block."""
    wire, folder = f"c{os.getpid() % 100_000}", Path(tempfile.mkdtemp(prefix="hosts-"))
    _ip("link", "add", wire, "type", "bridge")
    made: list[Host] = []
    try:
        _ip("link", "set", wire, "up")
        made.extend(Host(wire, number, folder / str(number)) for number in range(1, count + 1))
        yield made
    finally:
        for one in made:
            one.close()
        _ip("link", "del", wire)
        shutil.rmtree(folder, ignore_errors=True)


def reason_not_to() -> str:
    """Why there can be no such hosts here; nothing where there can."""
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("ip", "nsenter", "unshare")):
        return "needs root, and iproute2's and util-linux's ip, nsenter, unshare"
    name = f"try{os.getpid()}"
    if subprocess.run(("ip", "netns", "add", name), capture_output=True, check=False).returncode:
        return "this machine lets root make no network namespace"
    _ip("netns", "del", name)
    return ""


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    return ""


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)
