"""The MLflow server is away, slow, broken or forgetful while `dvc repro` and a sweep run."""

from pathlib import Path

from faults import stored, sweeps
from faults.campaign import Injection, Row
from faults.mlflow_server import Server
from faults.outages import EPOCHS, OUTAGES, Outage, Scene
from faults.proxy import Proxy, passing
from faults.reference import QUICK, copied, made
from faults.reference import results as repro_results
from faults.waiting import Waits
from pipeline.run.record import CLOCK
from pipeline.storage import digest

STUDY = "kernel_size"
SWEEP = "sweep", "-m", f"study.name={STUDY}", sweeps.SETTINGS, "seed=range(2)", "data.validation_images=200"
COMMANDS = {"dvc repro": ("dvc", "repro"), "sweep": ("python", "-m", f"pipeline.{SWEEP[0]}", *SWEEP[1:])}
PREPARED, REFERENCE = "prepared", "reference"

LONGEST_WAITS = {"pipeline.train": 30, "pipeline.evaluate": 60, "pipeline.sweep": 30}
"""Seconds that a command waits for the store when its own work is done."""

LEAVES = 30
"""Seconds that a busy machine needs to end a process."""

LONGEST_COMMAND = 900


def prepare(shared: Path) -> None:
    """A project with prepared images, and what it leaves when nothing goes wrong."""
    project = made(shared / PREPARED, *QUICK, f"training.epochs={EPOCHS}")
    project.run("dvc", "repro", "preprocess")
    reference = copied(shared / PREPARED, shared / REFERENCE)
    for command in COMMANDS.values():
        said, _ = (process := reference.start(*command)).communicate(timeout=LONGEST_COMMAND)
        assert process.returncode == 0, said


def trial(injection: Injection) -> str:
    door = list(COMMANDS)[injection.number % 2]
    name, outage = list(OUTAGES.items())[injection.number // 2 % len(OUTAGES)]
    injection.says(f"{door}; server {name}")
    project = copied(injection.shared / PREPARED, injection.folder / "project")
    with Server(injection.folder / "server") as server, Proxy(server.port) as proxy:
        server.start()
        scene = Scene(injection, server, proxy, project)
        with Waits(project.path) as waits:
            said = _run_through(scene, COMMANDS[door], outage)
        _check_told(said, most=2 if door == "dvc repro" else 1)
        _check_waited(injection, waits.seconds)
        assert results(project.path, door) == results(injection.shared / REFERENCE, door)
        proxy.fault = passing
        if not server.is_running:
            server.start()
        kept_up = _is_whole(server, project.path, door)
        for _ in range(2):
            # The second time nothing may be added.
            project.verb("track", *(() if door == "dvc repro" else (STUDY,)), MLFLOW_TRACKING_URI=proxy.address)
            check(server, project.path, door)
    assert kept_up or "tracking:" in said, f"not told that the store is not whole:\n{said}"
    return "the store kept up" if kept_up else "told; track brought it up"


def _run_through(scene: Scene, command: tuple[str, ...], outage: Outage) -> str:
    """What the command says while the outage happens."""
    acts = outage(scene)
    next(acts)
    scene.process = scene.project.start(*command, MLFLOW_TRACKING_URI=scene.proxy.address)
    next(acts, None)
    said, _ = scene.process.communicate(timeout=LONGEST_COMMAND)
    assert scene.process.returncode == 0, said
    return said


def _check_told(said: str, most: int) -> None:
    told = [line for line in said.splitlines() if line.startswith("tracking:")]
    assert len(told) <= most, said
    assert "Traceback" not in said, said
    assert "View run" not in said, said


def _check_waited(injection: Injection, seconds: dict[str, float]) -> None:
    """Each command ended soon after the last thing it did itself."""
    for command, waited in seconds.items():
        injection.says(f"{command} waited {waited:.0f} s")
        assert waited < LONGEST_WAITS[command] + LEAVES, f"{command} lived on for {waited:.0f} s after its work"


def check(server: Server, path: Path, door: str) -> None:
    """Raises AssertionError where the store does not hold everything once."""
    if door == "dvc repro":
        stored.check_repro(server.client(), path)
    else:
        stored.check_sweep(server.client(), path, STUDY)


def _is_whole(server: Server, path: Path, door: str) -> bool:
    try:
        check(server, path, door)
    except Exception:  # whatever is missing
        return False
    return True


def results(path: Path, door: str) -> dict[str, str]:
    """Path → SHA-256 of what must repeat byte for byte."""
    if door == "dvc repro":
        return repro_results(path)
    files = digest.of_folder(path / "runs")
    return {file: sha256 for file, sha256 in files.items() if CLOCK not in Path(file).parts and file[0] != "."}


ROW = Row(
    name="store_outages",
    fault="MLflow server absent, gone in the middle, slow (5 s a call), answering 500, losing answers, stalling",
    must_hold="the command ends as without it, with the same bytes, soon, and tells it in a line; afterwards `track` "
    "brings the store to hold every metric, param, tag and file exactly once",
    times=2 * len(OUTAGES),
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=2,
)
