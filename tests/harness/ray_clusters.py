"""A Ray cluster of several nodes on this machine, each with a folder of its own."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.harness.project import Project

HELD = 'project.ROOT / "fault"'
"""In the trainings of `faulty_project`: there is no such folder on a node."""


class Nodes:
    """A head without CPUs, and `count` nodes with one each."""

    def __init__(self, root: Path, count: int) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

        self.root, self.made = root, 0
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={**self._own(0), "include_dashboard": False},
            # It takes SIGTERM, which a thread can't.
            shutdown_at_exit=threading.current_thread() is threading.main_thread(),
        )
        self.nodes = [self.join() for _ in range(count)]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def join(self) -> Any:
        return self.cluster.add_node(**self._own(1))

    def crash(self, node: Any) -> None:
        """Kill all processes of a node at once."""
        self.cluster.remove_node(node, allow_graceful=False)

    def behead(self) -> None:
        """Kill the process that holds the cluster together."""
        self.cluster.head_node.kill_gcs_server(check_alive=False)

    def files(self) -> list[Path]:
        """What the nodes keep of runs."""
        return [path for path in self.root.glob("*/*/conv2d/*/*/*/**/*") if path.is_file()]

    def processes(self) -> list[int]:
        """The process ids of all that is the cluster's: what names its folder, and what was started by that."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self.root) in word for one in (process, *process.parents()) for word in one.cmdline()):
                    found.append(process.pid)
        return found

    def trainings(self) -> list[int]:
        """The process ids of those that do a run now."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(psutil.Error):
                if " ".join(psutil.Process(pid).cmdline()).startswith("ray::do"):
                    found.append(pid)
        return found

    def _own(self, cpus: int) -> dict[str, Any]:
        self.made += 1
        return {"num_cpus": cpus, "temp_dir": str(self.root / str(self.made))}


@contextlib.contextmanager
def ray_cluster(count: int = 2) -> Iterator[Nodes]:
    """A cluster that ends with the block. The names of its sockets must be short."""
    variables = {name: os.environ.pop(name) for name in ("PYTHONPATH", "RAY_ADDRESS") if name in os.environ}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    root = Path(tempfile.mkdtemp(prefix="ray"))
    nodes = Nodes(root, count)
    try:
        yield nodes
    finally:
        nodes.cluster.shutdown()
        os.environ.update(variables)
        shutil.rmtree(root, ignore_errors=True)


def hold_where_it_lies(project: Project) -> None:
    """Let the trainings of a `faulty_project` be told to fail on any node."""
    code = project.path / "pipeline" / "run" / "train_run.py"
    text = code.read_text()
    assert HELD in text
    code.write_text(text.replace(HELD, f"Path({str(project.path / 'fault')!r})"))
