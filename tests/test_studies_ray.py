"""Who does which run of a study on a Ray cluster, and what becomes of it: with a fake in place of Ray."""

import socket
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from pipeline.data import prepared
from pipeline.data.prepared import Images
from pipeline.run.environment import Environment, processor_class
from pipeline.run.record import TRAINING, TrainingClock, write_clock
from pipeline.storage import lock, project
from pipeline.studies import ray_executor, ray_node
from pipeline.studies.plan import Job, job_of, study_run_of
from pipeline.studies.ray_executor import ALIVE, INSTALL, RayCluster, in_words, refusal
from pipeline.studies.ray_node import Grown, describe, differing, files_of, put_files
from pipeline.studies.study import update_study
from pipeline.studies.workers import Ended, Failure, lock_of, prepared_images
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from tests.harness import studies
from tests.harness.conducting import finish
from tests.harness.fake_ray import Act, FakeRay, RayError, RayTaskError
from tests.harness.studies import a_project, declared, prepare, swept


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    prepare()
    prepared_images.cache_clear()
    # A node's process says nothing.
    monkeypatch.setattr(console, "quiet", False)
    for name in ("BETWEEN_NODES", "BETWEEN_LOOKS", "LONGEST_WITHOUT_NODE"):
        monkeypatch.setattr(ray_executor, name, 0.0)


def job(seed: int, filters: int = 8, threads: int = 1) -> Job:
    configuration = swept({"seed": seed, "model.conv.filters": filters, "training.threads": threads})
    return job_of(configuration, prepared.training_digest(project.PREPARED, swept().data), declared())


def fine(job: Job, _node: str) -> Iterator[Any]:
    """One epoch, and the record."""
    yield Grown(False, {"state": b"1", "training/history.csv": b"one"})
    finish(job)
    yield None


def says(processor: str = "x", **other: object) -> Any:
    return processor, describe()[1] | other


def cluster(monkeypatch: pytest.MonkeyPatch, act: Act = fine, wanted: int | None = None, **machines: Any) -> RayCluster:
    fake = FakeRay({name: (cpus, what) for name, (cpus, what) in machines.items()}, act)
    monkeypatch.setitem(sys.modules, "ray", fake)
    return RayCluster("kernels", None, wanted)


def looks(executor: RayCluster, jobs: Sequence[Job]) -> list[tuple[list[Job], list[Ended]]]:
    return list(executor.run(jobs, lambda _job: True))


def ends(executor: RayCluster, jobs: Sequence[Job]) -> dict[int, str | None]:
    """By its seed how each job ended, once."""
    ended = [one for _, now in looks(executor, jobs) for one in now]
    assert len(ended) == len({one.job.identity.name for one in ended}) == len(jobs)
    return {one.job.seed: None if one.failure is None else one.failure.reason for one in ended}


# Which node


def test_nodes_do_so_many_runs_at_once_as_they_have_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(1, says()), b=(2, says()))
    jobs = [job(seed) for seed in range(6)]
    seen = looks(executor, jobs)
    assert max(len(running) for running, _ in seen) == 3
    nodes = [node for _, node in executor.ray.sent]
    assert sorted(set(nodes)) == ["a", "b"]
    assert nodes.count("b") > nodes.count("a")
    assert {one.job.seed for _, ended in seen for one in ended} == set(range(6))


def test_runs_of_more_threads_than_a_node_has_cpus_have_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(2, says()))
    seen = looks(executor, [job(0, threads=4), job(1, threads=1), job(2, threads=1)])
    assert [sorted(job.seed for job in running) for running, _ in seen if running] == [[0], [1, 2]]


def test_no_more_go_on_at_once_than_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, wanted=2, a=(9, says()))
    assert max(len(running) for running, _ in looks(executor, [job(seed) for seed in range(5)])) == 2


def test_the_locks_of_many_runs_fit_into_what_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _kind: (64, 256))
    monkeypatch.setattr("resource.setrlimit", lambda _kind, both: limits.append(both))
    assert ends(cluster(monkeypatch, a=(1, says())), [job(0)]) == {0: None}
    assert limits == [(256, 256)]


def test_all_settings_of_a_seed_are_trained_on_one_class_of_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(1, says("old")), b=(1, says("new")), c=(1, says("new")))
    ends_of = looks(executor, [job(seed, filters) for filters in (4, 8, 16) for seed in range(4)])
    assert sum(len(ended) for _, ended in ends_of) == 12
    classes: dict[int, set[str]] = {}
    for seed, node in executor.ray.sent:
        classes.setdefault(seed, set()).add("old" if node == "a" else "new")
    assert all(len(seen) == 1 for seen in classes.values())
    assert set.union(*classes.values()) == {"old", "new"}


def test_a_seed_goes_on_where_its_earlier_runs_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = job(0, 4), job(0, 8)
    finish(before)
    where = Environment(hardware={"processor_class": "old"})
    write_clock(project.run_root(before.identity.name), TRAINING, TrainingClock(before.identity.name, (), where))
    cell = study_run_of(before, None)
    update_study(project.study("kernels"), lambda _: studies.study({cell.setting: {}}, [cell]))
    executor = cluster(monkeypatch, a=(9, says("new")), b=(1, says("old")))
    assert ends(executor, [other, job(1)]) == {0: None, 1: None}
    assert dict(executor.ray.sent) == {0: "b", 1: "a"}
    executor = cluster(monkeypatch, a=(9, says("new")))
    reasons = ends(executor, [job(0, 16), job(1, 16)])
    assert reasons[1] is None
    assert "no node of the class on which its seed was begun (old)" in str(reasons[0])


def test_a_node_that_is_another_gets_no_run_and_the_ingredient_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = describe()[1]["versions"]
    assert isinstance(other, dict)
    executor = cluster(monkeypatch, a=(4, says(versions=other | {"numpy": "0.9"})), b=(1, says()))
    assert ends(executor, [job(0), job(1)]) == {0: None, 1: None}
    assert {node for _, node in executor.ray.sent} == {"b"}
    assert "no run is sent to the node a.local: versions.numpy is 0.9, not " in capsys.readouterr().out
    broken = RayTaskError("\x1b[36mray::describe()\x1b[39m\nModuleNotFoundError: No module named 'pydantic'")
    reasons = ends(cluster(monkeypatch, a=(4, broken)), [job(2)])
    assert reasons[2] == (
        "the cluster has no node that can do it; a.local: RayTaskError: ModuleNotFoundError: No module named 'pydantic'"
    )


def test_what_differs_is_named_and_shown() -> None:
    here: dict[str, Any] = {"code": "c" * 64, "versions": {"numpy": "2.4.0", "keras": "3"}, "seed": 0}
    assert differing({"code": "c" * 64, "versions": {"numpy": "2.4.0"}}, here) == ""
    assert differing({"code": "d" * 64, "versions": {"numpy": "2.5.0"}}, here) == (
        "code is dddddddddddd, not cccccccccccc, versions.numpy is 2.5.0, not 2.4.0"
    )


# Cards


@pytest.mark.parametrize(
    ("cpus", "cards", "threads", "share"),
    [
        (4, 1, 1, 0.25),
        (4, 1, 2, 0.5),
        (6, 1, 1, 0.1666),
        (5, 2, 1, 0.3333),
        (2, 4, 1, 1.0),
        (1, 1, 2, 1.0),
        (4, 0, 1, 0),
    ],
)
def test_the_runs_of_a_node_share_its_cards_evenly(
    cpus: int, cards: int, threads: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.run.identity.device", lambda: "NVIDIA L4")
    executor = cluster(monkeypatch, a=(cpus, says(device="NVIDIA L4")))
    executor.ray.cards = {"a": cards}
    jobs = [job(seed, threads=threads) for seed in range(cpus)]
    assert set(ends(executor, jobs).values()) == {None}
    asked, *sent = executor.ray.options
    assert {one["num_gpus"] for one in sent} == {share}
    # As many as its CPUs have room for fit on them.
    assert cards == 0 or (cpus // min(threads, cpus)) <= cards * int(1 / share + 1e-9)
    assert asked["num_gpus"] == 0
    assert all("CUDA_VISIBLE_DEVICES" not in one["runtime_env"]["env_vars"] for one in executor.ray.options)


def test_a_card_is_hidden_from_what_the_conductor_would_train_on_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(2, says()))
    executor.ray.cards = {"a": 1}
    assert ends(executor, [job(0)]) == {0: None}
    for one in executor.ray.options:
        assert one["num_gpus"] == 0
        assert one["runtime_env"]["env_vars"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_node_without_the_conductors_card_gets_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.run.identity.device", lambda: "NVIDIA L4")
    executor = cluster(monkeypatch, a=(1, says(device="cpu")), b=(1, says(device="NVIDIA L4")))
    assert ends(executor, [job(0), job(1)]) == {0: None, 1: None}
    assert {node for _, node in executor.ray.sent} == {"b"}
    assert "no run is sent to the node a.local: device is cpu, not NVIDIA L4" in capsys.readouterr().out


# What becomes of a run


def test_what_has_grown_comes_home_and_the_checkpoint_goes_when_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = job(0)
    work = project.checkpoint(one.identity.name)
    seen = []
    for running, ended in cluster(monkeypatch, a=(1, says())).run([one], lambda _job: True):
        seen.append((len(running), len(ended), (work / "state").exists(), lock.is_held(lock_of(one))))
    # The lock is free before it is told that the run ended.
    assert seen == [(1, 0, True, True), (0, 1, False, False)]


def test_a_run_that_is_lost_is_sent_again_with_what_came_home(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def act(job: Job, _node: str) -> Iterator[Any]:
        given.append(dict(files_of(job, "state", is_record=False).files))
        if len(given) < 3:
            yield Grown(False, {"state": str(len(given)).encode()})
            yield RayError("died")
        yield None

    assert ends(cluster(monkeypatch, act, a=(1, says())), [job(0)]) == {0: None}
    assert given == [{}, {"state": b"1"}, {"state": b"2"}]


def test_a_run_that_dies_again_and_again_without_an_epoch_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(job: Job, node: str) -> Iterator[Any]:
        if job.seed == 1:
            yield RayError("\x1b[31mThe worker died\x1b[0m")
        yield from fine(job, node)

    executor = cluster(monkeypatch, act, a=(1, says()))
    assert ends(executor, [job(0), job(1)]) == {0: None, 1: "its process or its node died: RayError: The worker died"}
    assert [seed for seed, _ in executor.ray.sent].count(1) == 4


def test_what_a_run_raises_is_told_as_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(_job: Job, _node: str) -> Iterator[Any]:
        yield Failure("ValueError: no", "Traceback")

    executor = cluster(monkeypatch, act, a=(1, says()))
    assert ends(executor, [job(0)]) == {0: "ValueError: no"}
    assert len(executor.ray.sent) == 1


def test_what_another_sweep_does_is_waited_for_and_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = job(0), job(1)
    executor = cluster(monkeypatch, a=(4, says()))
    ended = []
    with lock.only_one(lock_of(theirs)):
        run = executor.run([theirs, ours], lambda _job: True)
        for _ in range(4):
            ended += [one.job.seed for one in next(run)[1]]
        finish(theirs)
    ended += [one.job.seed for _, now in run for one in now]
    assert ended == [1, 0]
    assert executor.ray.sent == [(1, "a")]


def test_what_may_not_start_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(4, says()))
    found = [one.job.seed for _, now in executor.run([job(0), job(1)], lambda job: job.seed == 1) for one in now]
    assert found == [1]


def test_leaving_the_iteration_early_ends_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = cluster(monkeypatch, a=(4, says()))
    run = executor.run([job(0), job(1)], lambda _job: True)
    assert isinstance(run, Generator)
    with closing(run):
        assert len(next(run)[0]) == 2
    assert len(executor.ray.cancelled) == 2
    assert not lock.is_held(lock_of(job(0)))


def test_a_sweep_that_is_terminated_while_ray_waits_leaves_with_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(_words: Any, **_: Any) -> Any:
        raise SystemExit(1)

    executor = cluster(monkeypatch, a=(1, says()))
    monkeypatch.setattr(executor.ray, "wait", wait)
    with pytest.raises(SystemExit) as left:
        looks(executor, [job(0)])
    assert left.value.code == 143


def test_only_the_pipeline_travels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "private").write_text("")
    executor = cluster(monkeypatch, a=(1, says()))
    executor._connect()
    code = executor.ray.begun["runtime_env"]
    assert code["working_dir"] == str(tmp_path)
    assert "/private" in code["excludes"]
    assert "/pipeline" not in code["excludes"]


def test_parts_are_put_whole_and_what_is_hidden_stays() -> None:
    one = job(0)
    finish(one)
    root = project.run_root(one.identity.name)
    (root / ".lock").write_text("")
    (root / "lock").write_text("")
    record = files_of(one, is_record=True)
    (root / TRAINING / "left").write_text("of before")
    put_files(one, record)
    assert not (root / TRAINING / "left").exists()
    assert {"training/run.json", "evaluation/metrics.json"} <= record.files.keys()
    assert not {".lock", "lock"} & record.files.keys()
    assert files_of(one, is_record=True) == record
    assert files_of(one, TRAINING, is_record=True).files.keys() == {
        name for name in record.files if name.startswith(TRAINING)
    }


# Where there is no cluster


def test_without_ray_it_is_said_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^study\.executor: ray needs Ray, which is not installed: `\.tools/bin/uv"):
        RayCluster("kernels", None, None)
    assert "requirements/cluster.txt" in INSTALL


class Head(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers what a head is asked, where it is asked with its token."""

    def __init__(self, token: str = "") -> None:
        self.token = token

    def service(self, asked: Any) -> Any:
        given = dict(asked.invocation_metadata)["authorization"]

        def answer(_request: bytes, context: Any) -> bytes:
            if self.token and given != f"Bearer {self.token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer) if asked.method == ALIVE else None


@contextmanager
def served(*handlers: Head) -> Iterator[str]:
    """The address of a server."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_only_a_head_answers() -> None:
    with served(Head()) as address:
        assert refusal(address) == ""
    with served() as address:
        assert "none answers at 127" in refusal(address)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "within 0.1 s" in refusal(f"127.0.0.1:{silent.getsockname()[1]}", seconds=0.1)
    assert refusal("127.0.0.1:1")
    assert refusal("127.0.0.1:99999")


def test_a_head_that_asks_for_a_token_gets_it_or_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with served(Head("right")) as address:
        assert "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in refusal(address)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert refusal(address) == "", "it may lie in a file that Ray reads"
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
        assert "asks for its token" in refusal(address)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
        assert refusal(address) == ""


def test_an_address_that_does_not_answer_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay({}, fine)
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(UserError, match=r"^study\.address: must be that of a Ray head, but none answers at 127"):
        RayCluster("kernels", "127.0.0.1:1", None)
    assert not fake.begun


def test_a_head_that_is_away_for_long_ends_the_sweep_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_job: Job, _node: str) -> Iterator[Any]:
        while True:
            yield Grown(False, {"state": b"1"})

    executor = cluster(monkeypatch, never, a=(1, says()))
    executor.address = "127.0.0.1:1"
    executor.ray.init(address=executor.address)
    monkeypatch.setattr(ray_executor, "refusal", lambda *_, **_seconds: "")
    run = executor.run([job(0)], lambda _job: True)
    assert len(next(run)[0]) == 1
    monkeypatch.setattr(ray_executor, "refusal", lambda *_, **_seconds: "gone")
    assert len(next(run)[0]) == 1
    monkeypatch.setattr(ray_executor, "LONGEST_SILENCE", 0.0)
    with pytest.raises(UserError, match=r"the head at 127.0.0.1:1 is gone. With one, the same line goes on"):
        list(run)
    assert len(executor.ray.cancelled) == 1


def test_what_ray_says_is_told_without_its_colours() -> None:
    assert in_words(RayError("\x1b[36mfirst\x1b[39m\nlast line ")) == "RayError: last line"
    assert in_words(ValueError()) == "ValueError"


# What a node does


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process is a node's; returns its own folder."""
    context = SimpleNamespace(
        get_temp_dir=lambda: str(tmp_path / "ray"), get_session_name=lambda: "session", get_node_id=lambda: "7"
    )
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    return tmp_path / "ray" / "session" / "conv2d" / "7"


def images_of(_job: Job) -> tuple[Images, None]:
    return prepared.load_training(project.PREPARED), None


def test_a_node_gives_all_that_grows_and_keeps_nothing(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, seen = job(0), list[Any]()

    def acts(job: Job, sync: Callable[[Path], None], images: Any, where: Environment) -> None:
        work = project.checkpoint(job.identity.name)
        assert work.is_relative_to(node)
        seen.extend([(work / "state").read_bytes(), len(images("training").labels), where])
        (work / "training").mkdir()
        (work / "training" / "history.csv").write_text("one epoch")
        sync(work)
        finish(job)
        sync(project.run_root(job.identity.name))

    monkeypatch.setattr(ray_node, "run_job", acts)
    conductor = Environment("commit", True, {}, {"host": "conductor"})
    first, second, last = ray_node.do(one, [Grown(False, {"state": b"begun"})], conductor, *images_of(one))
    assert first == Grown(False, {"state": b"begun", "training/history.csv": b"one epoch"})
    assert isinstance(second, Grown)
    assert second.is_record
    assert "evaluation/metrics.json" in second.files
    assert last is None
    assert [path for path in node.rglob("*") if path.is_file()] == []
    state, count, where = seen
    assert (state, count) == (b"begun", 20)
    assert (where.git_commit, where.uncommitted_changes) == ("commit", True)
    assert where.hardware["host"] == socket.gethostname()
    assert where.hardware["processor_class"] == processor_class()


def test_a_run_that_would_be_another_on_a_node_is_refused_there_and_the_ingredient_named(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, (images, _) = job(0), images_of(job(0))
    monkeypatch.setattr(ray_node, "run_job", pytest.fail)
    other = Images(images.images, images.labels[::-1].copy())
    (said,) = ray_node.do(one, [], Environment(), other, None)
    assert isinstance(said, Failure)
    assert said.reason.startswith(
        f"the node {socket.gethostname()} would train another run: data is {other.digest[:12]}"
    )
    monkeypatch.setattr("pipeline.run.identity.versions", lambda: {"python": "3.9", "numpy": "1"})
    (said,) = ray_node.do(one, [], Environment(), images, None)
    assert isinstance(said, Failure)
    assert "versions.numpy is 1, not " in said.reason
    assert not node.exists()
