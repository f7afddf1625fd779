"""Two commands at once in one project: each does what it would do alone, or says at once that the other is running."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from faults import sweeps
from faults.campaign import Injection, Row
from faults.reference import copied, results
from tests.harness.project import Project, new_project, stages_run

REPRO = "dvc", "repro"
SEEDS = "seed=range(3)"
LONGEST_ANSWER = 60.0
"""Seconds in which a command must have said that another is running: DVC alone needs two to start, on a busy machine
many."""

RUNNING = re.compile(r"Unable to acquire lock|is busy, it is being blocked by", re.DOTALL)
"""What DVC says of another that is running."""

NO_DATA = re.compile(r"data/prepared\S*: (the prepared images are missing|is missing|is damaged)")
"""What a sweep says without images."""


@dataclass(frozen=True)
class Told:
    """What a command said, how it left, after how many seconds."""

    said: str
    status: int
    seconds: float


def prepare(shared: Path) -> None:
    """A project without data, one whose images are prepared, and what is left by commands that run alone."""
    fresh = new_project(shared / "fresh", *sweeps.GRID)
    prepared = copied(fresh.path, shared / "prepared")
    prepared.run("dvc", "repro", "preprocess")
    reference = copied(prepared.path, shared / "reference")
    started = time.monotonic()
    reference.run(*REPRO)
    repro_took = time.monotonic() - started
    started = time.monotonic()
    reference.run(*sweeps.line(SEEDS))
    (shared / "seconds").write_text(f"{repro_took} {time.monotonic() - started}", encoding="utf-8")


def two_repros(injection: Injection) -> str:
    source = ("fresh", "prepared")[injection.number % 2]
    project = copied(injection.shared / source, injection.folder / "project")
    offset = injection.random.uniform(0, _seconds(injection.shared)[0])
    injection.says(f"a second dvc repro {offset:.1f} s after the first, in a {source} project")
    both = _beside(project, REPRO, REPRO, offset)
    ended = [one for one in both if one.status == 0]
    gave_way = [one for one in both if one.status != 0]
    injection.says("; ".join(f"left with {one.status} after {one.seconds:.1f} s" for one in both))
    assert ended, "\n".join(one.said for one in both)
    for one in gave_way:
        assert RUNNING.search(one.said), one.said
        assert one.seconds < LONGEST_ANSWER, one.seconds
    _assert_repro_is_whole(project, injection.shared)
    sweeps.assert_store_is_whole(project, {}, repros=1)
    if not gave_way:
        return "both finished"
    return f"the {'first' if both[0].status else 'second'} said that the other is running"


def two_sweeps(injection: Injection) -> str:
    kind, first, second, runs = (
        ("the same line", ("seed=range(2)",), ("seed=range(2)",), {sweeps.STUDY: 4}),
        ("overlapping lines of one study", ("seed=0,1",), ("seed=1,2",), {sweeps.STUDY: 6}),
        (
            "two studies of the same runs",
            ("seed=0,1", "study.name=one"),
            ("seed=0,1", "study.name=two"),
            {"one": 4, "two": 4},
        ),
    )[injection.number % 3]
    project = copied(injection.shared / "prepared", injection.folder / "project")
    offset = injection.random.uniform(0, _seconds(injection.shared)[1])
    injection.says(f"two sweeps, {kind}, the second {offset:.1f} s after the first, without a store")
    with sweeps.watched(project):
        both = _beside(project, sweeps.line(*first), sweeps.line(*second), offset)
    for one in both:
        assert one.status == 0, one.said
        assert "Traceback" not in one.said, one.said
        assert "tracking:" not in one.said, one.said
    _assert_sweeps_are_whole(project, injection.shared, runs)
    sweeps.assert_store_is_whole(project, runs)
    return f"{kind}: both finished"


def sweep_and_repro(injection: Injection) -> str:
    kind = ("prepared", "first use, dvc repro first", "first use, the sweep first", "forced")[injection.number % 4]
    seeds = ("seed=0,1", "seed=1,2")[injection.number // 4 % 2]
    project = copied(injection.shared / ("fresh" if "first use" in kind else "prepared"), injection.folder / "project")
    repro = (*REPRO, "--force") if kind == "forced" else REPRO
    commands = [repro, sweeps.line(seeds)]
    offset = injection.random.uniform(0, _seconds(injection.shared)[0])
    if kind == "first use, the sweep first" or (kind == "prepared" and injection.random.random() < 0.5):
        commands.reverse()
        offset = min(offset, injection.random.uniform(0, 5))
    injection.says(f"{kind}: {' '.join(commands[0])}, {offset:.1f} s later {' '.join(commands[1])}")
    with sweeps.watched(project):
        told = dict(zip(commands, _beside(project, commands[0], commands[1], offset), strict=True))
    repro_told, sweep_told = told[repro], told[sweeps.line(seeds)]
    last = sweep_told.said[-300:].replace(str(injection.folder), "<trial>")
    injection.says(f"the sweep left with {sweep_told.status}, at last it said {last!r}")
    assert repro_told.status == 0, repro_told.said
    assert "Traceback" not in sweep_told.said, sweep_told.said
    outcome = "both finished"
    if sweep_told.status != 0:
        assert NO_DATA.search(sweep_told.said), sweep_told.said
        outcome = "the sweep said that there are no images yet"
        project.run(*sweeps.line(seeds))
    if "tracking:" in sweep_told.said:
        # On a busy machine the wait for the store ends before the other has made it: what it says is done.
        project.run("python", "-m", "pipeline.track", sweeps.STUDY)
    _assert_repro_is_whole(project, injection.shared)
    _assert_sweeps_are_whole(project, injection.shared, {sweeps.STUDY: 4})
    sweeps.assert_store_is_whole(project, {sweeps.STUDY: 4}, repros=1)
    return outcome


def _beside(project: Project, first: tuple[str, ...], second: tuple[str, ...], offset: float) -> tuple[Told, Told]:
    """Start `second` so many seconds after `first`; what came of each."""
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(_told, project, first)
        time.sleep(offset)
        two = pool.submit(_told, project, second)
        return one.result(), two.result()


def _told(project: Project, command: tuple[str, ...]) -> Told:
    started = time.monotonic()
    process = sweeps.start(project, *command)
    said = sweeps.said_by(process)
    return Told(said, process.returncode, time.monotonic() - started)


def _assert_repro_is_whole(project: Project, shared: Path) -> None:
    """What `dvc repro` alone leaves, and nothing for it to do but the check, which always runs."""
    assert results(project.path) == results(shared / "reference")
    assert stages_run(project.run(*REPRO)) == ["check"]
    sweeps.assert_tidy(project)


def _assert_sweeps_are_whole(project: Project, shared: Path, studies: dict[str, int]) -> None:
    """The studies hold what sweeps alone leave."""
    alone = sweeps.bits(Project(shared / "reference"))
    found = sweeps.bits(project)
    assert found == {name: alone[name] for name in found}
    assert len(found) == max(studies.values())
    for name, runs in studies.items():
        sweeps.assert_study_is_whole(project, runs, name)
    sweeps.assert_tidy(project)
    sweeps.assert_all_leave(project)


def _seconds(shared: Path) -> tuple[float, float]:
    """How long `dvc repro` and a sweep took alone."""
    repro, sweep = map(float, (shared / "seconds").read_text(encoding="utf-8").split())
    return repro, sweep


MUST_HOLD = "both finish properly, to the bytes of one alone and once in MLflow, or one says at once that "

TWO_REPROS = Row(
    name="two_repros",
    fault="two `dvc repro` at once, the second at a random moment of the first",
    must_hold=f"{MUST_HOLD}the other is running",
    times=20,
    short=1,
    trial=two_repros,
    prepare=prepare,
)
TWO_SWEEPS = Row(
    name="two_sweeps",
    fault="two sweeps at once: the same line, lines of one study that overlap, two studies of the same runs",
    must_hold=f"{MUST_HOLD}the other is running",
    times=20,
    short=1,
    trial=two_sweeps,
    prepare=prepare,
)
SWEEP_AND_REPRO = Row(
    name="sweep_and_repro",
    fault="a sweep and a `dvc repro` at once, also on the first use, where the images are being made",
    must_hold=f"{MUST_HOLD}there are no images yet",
    times=20,
    short=1,
    trial=sweep_and_repro,
    prepare=prepare,
)
