"""A search: what is proposed, which runs are done, and what becomes of those that fail. Without a training."""

import importlib.util
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.config.messages import ConfigurationError
from pipeline.storage import project
from pipeline.studies import search
from pipeline.studies.hydra_entry import search_space, split_grid
from pipeline.studies.plan import Job
from pipeline.studies.run_study import run_study
from pipeline.studies.search import GENERATION, INSTALL, Dimension, Optimiser, Space, finalists, trial_scores
from pipeline.studies.study import Point, Search, Study, Trial, read_study, update_study
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.workers import Ended, Failure
from pipeline.terminal.errors import UserError
from tests.harness import fake_optuna
from tests.harness.conducting import Acting, Told, finish
from tests.harness.settings import article, article_values
from tests.harness.studies import a_project, cell, declared, prepare, study

FILTERS, KERNEL, RATE = "model.conv.filters", "model.conv.kernel_size", "training.learning_rate"
SPACE = Space(
    {
        FILTERS: Dimension(("8", "16", "32", "64"), is_ordered=True),
        KERNEL: Dimension(("1", "2", "3", "5"), is_ordered=True),
        RATE: Dimension(low=0.0005, high=0.01, is_log=True),
    },
    (0, 1),
    (),
)
SMALL = Space({FILTERS: Dimension(("8", "16"), is_ordered=True), KERNEL: Dimension(("1", "3", "5"))}, (0, 1), ())
TPE: dict[str, Any] = {"search": "tpe", "trials": 12}

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason=f"no Optuna: {INSTALL}")


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.long, needs_optuna])], autouse=True)
def _optuna(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "fake":
        monkeypatch.setitem(sys.modules, "optuna", fake_optuna)
        fake_optuna.told.clear()


def is_fake() -> bool:
    """Whether Optuna is the one that keeps what it was told."""
    return sys.modules.get("optuna") is fake_optuna


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    prepare()
    monkeypatch.setattr("pipeline.studies.run_study.MirrorProcess", Told())


def compose(jobs: list[list[str]]) -> list[Point]:
    points = []
    for words in jobs:
        values = {key: yaml.safe_load(text) for key, _, text in (word.partition("=") for word in words)}
        overrides = " ".join(word for word in words if not word.startswith("seed="))
        points.append(Point(overrides, article_values({"data.validation_images": 10} | values)))
    return points


def score(job: Job) -> None:
    conv, rate = job.configuration.model.conv, job.configuration.training.learning_rate
    noise = random.Random(f"{conv.filters} {conv.kernel_size} {rate} {job.seed}").gauss(0, 0.002)
    finish(job, 0.7 + 0.001 * conv.filters + 10 * rate + noise)


def each(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
    for job in jobs:
        yield [job], []
        score(job)
        yield [], [Ended(job)]


Act = Callable[[list[Job]], Any]


def sweep(config: StudyConfig | None = None, act: Act = each, space: Space = SPACE) -> list[Job]:
    """The jobs that the sweep did, in their order."""
    executor, config = Acting(act), config or declared(**TPE)
    run_study(Optimiser(space, compose, config), config, article().tracking, executor)
    return executor.given


def kernels() -> Study:
    return read_study(project.study("kernels"))


def searched() -> Search:
    found = kernels().search
    assert found is not None
    return found


def done() -> set[tuple[str, int]]:
    return {(run.setting, run.seed) for run in kernels().cells if run.state == "finished"}


def anew(tmp_path: Path) -> None:
    """As if nothing had been done."""
    project.RUNS.rename(tmp_path / f"runs{len(list(tmp_path.iterdir()))}")
    project.STUDIES.rename(tmp_path / f"studies{len(list(tmp_path.iterdir()))}")


# What is proposed


def test_every_trial_is_a_setting_with_all_seeds_a_generation_at_a_time() -> None:
    rounds: list[int] = []

    def counted(jobs: list[Job]) -> Any:
        rounds.append(len(jobs))
        return each(jobs)

    jobs = sweep(act=counted)
    assert rounds == [2 * GENERATION, 2 * GENERATION, 4]
    assert len({job.identity.name for job in jobs}) == 24
    found, trials = kernels(), searched().trials
    assert found.state == "finished"
    assert [trial.setting for trial in trials] == list(found.settings)
    for trial in trials:
        values = found.settings[trial.setting or ""].values
        assert {key: yaml.safe_load(text) for key, text in trial.values.items()} == {
            key: values[key] for key in (FILTERS, KERNEL, RATE)
        }
        rate = float(trial.values[RATE])
        assert 0.0005 <= rate <= 0.01
        assert rate == float(f"{rate:.3g}"), "three digits, which a person can type"


def test_a_trials_score_is_the_mean_over_its_seeds() -> None:
    sweep()
    found = kernels()
    for trial, own in zip(searched().trials, trial_scores(found), strict=True):
        accuracies = [run.accuracy for run in found.cells if run.setting == trial.setting]
        assert own == pytest.approx(50 * sum(filter(None, accuracies)))


def test_the_optimiser_is_told_the_scores_of_whole_generations() -> None:
    sweep()
    if is_fake():
        known = trial_scores(kernels())
        assert fake_optuna.told == [[], known[:GENERATION], known[: 2 * GENERATION]]


def test_the_same_line_again_does_nothing() -> None:
    sweep()
    before = kernels()
    assert sweep() == []
    assert kernels() == before


def test_more_trials_go_on_to_what_would_have_been_proposed_at_once(tmp_path: Path) -> None:
    sweep()
    trials = searched().trials
    anew(tmp_path)
    for count in (3, 7, 12):
        sweep(declared(**TPE | {"trials": count}))
        assert searched().trials == trials[:count]


def test_what_is_proposed_depends_on_the_scores_alone(tmp_path: Path) -> None:
    sweep()
    trials = searched().trials
    anew(tmp_path)

    def together(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        for job in reversed(jobs):
            score(job)
        yield [], [Ended(job) for job in reversed(jobs)]

    sweep(act=together)
    assert searched().trials == trials

    def others(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            finish(job, 0.9 - 0.001 * job.configuration.model.conv.filters)
            yield [], [Ended(job)]

    anew(tmp_path)
    sweep(act=others)
    assert searched().trials[:GENERATION] == trials[:GENERATION]
    # TPE begins with ten that are drawn at random.
    assert searched().trials[2 * GENERATION :] != trials[2 * GENERATION :]


def test_without_its_study_the_line_proposes_the_same_and_trains_nothing(tmp_path: Path) -> None:
    sweep()
    trials = searched().trials
    project.STUDIES.rename(tmp_path / "before")
    assert sweep() == []
    assert searched().trials == trials
    assert kernels().state == "finished"


# Killed, divided, failed


@pytest.mark.parametrize("ends", [1, 10, 19, *(pytest.param(ends, marks=pytest.mark.long) for ends in (0, 9, 11, 23))])
def test_a_search_that_is_killed_goes_on_to_the_same_trials(ends: int, tmp_path: Path) -> None:
    sweep()
    trials, runs = searched().trials, done()
    anew(tmp_path)
    count = 0

    def killed(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        nonlocal count
        for job in jobs:
            if count == ends:
                raise KeyboardInterrupt
            count += 1
            score(job)
            yield [], [Ended(job)]

    with pytest.raises(KeyboardInterrupt):
        sweep(act=killed)
    assert kernels().state == "interrupted"
    assert len(sweep()) == 24 - ends
    assert (searched().trials, done(), kernels().state) == (trials, runs, "finished")


def test_two_sweeps_of_one_search_do_the_same_trials_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The study is kept at each run's end, so that the other begins after the thirteenth.
    monkeypatch.setattr("pipeline.studies.run_study.REST", 0)
    sweep()
    trials, runs = searched().trials, done()
    anew(tmp_path)
    other = list[Job]()

    def disturbed(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if len(kernels().ended) == 13 and not other:
                # The other goes on to the end while this one is in the second generation.
                other.extend(sweep())
            score(job)
            yield [], [Ended(job)]

    own = sweep(act=disturbed)
    assert (searched().trials, done(), kernels().state) == (trials, runs, "finished")
    assert len(other) == 11
    assert len(own) == 20, "the last generation is the other's"


def test_a_setting_that_fails_is_told_as_failed_and_tried_again_by_the_same_line() -> None:
    def fails(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if job.setting == list(kernels().settings)[1] and job.seed == 1:
                yield [], [Ended(job, Failure("out of memory"))]
            else:
                score(job)
                yield [], [Ended(job)]

    with pytest.raises(UserError, match=r"^1 of 24 runs failed\."):
        sweep(act=fails)
    assert kernels().state == "failed"
    trials = searched().trials
    assert [own is None for own in trial_scores(kernels())] == [place == 1 for place in range(12)]
    if is_fake():
        assert [own is None for own in fake_optuna.told[1]] == [False, True, False, False, False]
    assert [job.seed for job in sweep()] == [1]
    assert searched().trials == trials, "what was proposed stays, whatever it was proposed by"
    assert kernels().state == "finished"


def test_a_setting_that_can_not_exist_is_told_as_failed_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    space = SPACE._replace(dimensions={**SPACE.dimensions, KERNEL: Dimension(("1", "29", "3"), is_ordered=True)})
    jobs = sweep(space=space)
    impossible = [trial for trial in searched().trials if trial.values[KERNEL] == "29"]
    assert impossible
    assert all(trial.setting is None for trial in impossible)
    assert len(searched().trials) == 12
    assert len(jobs) == 2 * (12 - len(impossible))
    assert len(kernels().refused) == len(impossible)
    assert "can't exist: model.conv.filters=" in capsys.readouterr().out
    assert sweep(space=space) == []


def test_a_space_of_which_nothing_can_exist_is_refused_before_anything_is_written() -> None:
    space = SPACE._replace(dimensions={FILTERS: Dimension(low=8.5, high=9.0)})
    with pytest.raises(
        UserError, match=r"(?s)^none of the first 5 settings of this search can exist: model\.conv\.fil"
    ):
        sweep(space=space)
    assert not project.STUDIES.exists()


def test_what_is_proposed_again_costs_no_run_and_has_the_score_it_has() -> None:
    config = declared(**TPE | {"trials": 5})
    jobs = sweep(config, space=SMALL)
    names = [trial.setting for trial in searched().trials]
    assert len(jobs) == 2 * len(set(names))
    for name, own in zip(names, trial_scores(kernels()), strict=True):
        assert own == trial_scores(kernels())[names.index(name)]
    assert len(finalists(kernels())) == min(3, len(set(names)))


def test_a_run_that_collapsed_counts_with_what_it_scored() -> None:
    cells = [cell(name, seed, accuracy=0.8) for name in "abc" for seed in range(2)]
    cells[1] = replace(cells[1], collapsed=True, accuracy=0.1)
    cells[3] = replace(cells[3], state="diverged", accuracy=0.0)
    cells[5] = replace(cells[5], state="failed", accuracy=None)
    trials = tuple(Trial({"k": name}, name) for name in "abc")
    one = replace(
        study({"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 3}}, cells),
        search=Search("tpe", 4, {"k": "1,2,3"}, (0, 1), (), (*trials, Trial({"k": "9"}, None))),
    )
    assert trial_scores(one) == [pytest.approx(45), pytest.approx(40), None, None]
    assert [trial.setting for trial in finalists(one)] == ["a", "b"]


def test_of_other_code_a_search_begins_anew() -> None:
    sweep()
    trials = searched().trials
    # What other scores led to.
    other = replace(searched(), trials=trials[::-1])
    update_study(project.study("kernels"), lambda present: replace(present or study({}), basis="earlier", search=other))
    assert sweep() == [], "these records are of the present code"
    assert searched().trials == trials


# Hours, failures, dry runs


def test_hours_end_a_search_which_the_same_line_goes_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.Budget.fits", lambda _self, _job: len(kernels().ended) < 13)

    def within(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        return each([job for job, _ in zip(jobs, range(13 - len(kernels().ended)), strict=False)])

    sweep(declared(**TPE, hours=1), within)
    assert (len(kernels().ended), len(searched().trials), kernels().state) == (13, 10, "interrupted")
    assert len(sweep()) == 11


def test_after_a_failure_nothing_more_is_proposed_where_that_was_asked_for() -> None:
    def fails_last(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if job is jobs[-1]:
                yield [], [Ended(job, Failure("out of memory"))]
            else:
                score(job)
                yield [], [Ended(job)]

    with pytest.raises(UserError, match=r"No other was started after it"):
        sweep(declared(**TPE, stop_on_failure=True), fails_last)
    assert len(searched().trials) == GENERATION


def test_a_dry_run_tells_the_plan_in_numbers_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert sweep(declared(**TPE, dry_run=True)) == []
    said = " ".join(capsys.readouterr().out.split())
    assert "a search (tpe) of 12 trials with 2 seeds each, 5 proposed at a time" in said
    assert "5 trials proposed, 0 of their runs done already, at most 24 to do" in said
    assert "it gives no verdict" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_search_is_started_after_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.MOST_UNASKED", 23)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(UserError, match=r"^24 runs: a sweep of more than 23 is started with --yes"):
        sweep()
    assert len(sweep(declared(**TPE, ask=False))) == 24


def test_the_terminal_is_told_the_best_so_far_and_the_line_for_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    sweep()
    said = capsys.readouterr().out
    best = max(own for own in trial_scores(kernels())[:GENERATION] if own is not None)
    assert f"trials 6 to 10 of 12; best so far {best:.2f} %, model.conv.filters=" in said
    assert "24/24 " in said
    assert said.rstrip().endswith("'seed=range(2,12)'")


# What can't be searched


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"search": None}, r"^study\.trials: must be null without a search, not 12\. Add study\.search=tpe"),
        ({"trials": None}, r"^study\.trials: must say how many settings are tried, not null\. Write study\.trials=20"),
        ({"stop": "best"}, r'^study\.stop: must be left out of a search, which gives no verdict, not "best"'),
        ({"baseline": {FILTERS: 8}}, r"^study\.baseline: must be left out of a search, which gives no verdict"),
        ({"zip": [FILTERS, KERNEL]}, r"^study\.zip: must be left out of a search, which names the settings itself"),
        ({"settings": {"a": {FILTERS: 8}}}, r"^study\.settings: must be left out of a search"),
        ({"exclude": [{FILTERS: 8}]}, r"^study\.exclude: must be left out of a search"),
        ({"score_on": "test"}, r"^study\.score_on: must be validation in a search, not test"),
    ],
)
def test_what_makes_no_sense_in_a_search_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        declared(**TPE | changes).check_search()


@pytest.mark.parametrize(
    ("space", "trials", "told"),
    [
        (SPACE._replace(dimensions={}), 5, r"^study\.search: must have keys to search, not tpe alone\."),
        (SMALL, 6, r"^study\.trials: must be fewer than the 6 combinations there are, not 6\. Leave out"),
    ],
)
def test_where_there_is_nothing_to_search_that_is_said(space: Space, trials: int, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Optimiser(space, compose, declared(search="tpe", trials=trials))


def test_without_optuna_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError) as raised:
        sweep()
    assert str(raised.value) == f"study.search: needs Optuna, which is not installed: `{INSTALL}`"
    assert search.INSTALL.endswith("requirements/search.txt")
    assert "optuna==5." in (Path(__file__).parents[1] / "requirements" / "search.txt").read_text()


@pytest.mark.parametrize("space", [SPACE._replace(seeds=(0, 1, 2)), SMALL, SPACE._replace(dimensions={**SMALL[0]})])
def test_a_search_goes_on_in_its_own_space_and_over_its_seeds_alone(space: Space) -> None:
    sweep()
    before = kernels()
    with pytest.raises(
        ConfigurationError, match=r"^study\.name: must be another: kernels is a search in another space"
    ):
        sweep(declared(**TPE | {"trials": 5}), space=space)
    assert kernels() == before


def test_a_search_does_not_go_on_with_other_values_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep()
    monkeypatch.setattr(sys.modules[__name__], "article_values", lambda values: more(values, {"training.epochs": 3}))
    with pytest.raises(ConfigurationError, match=r"or with other values beside\. Write study\.name="):
        sweep()


def more(values: dict[str, Any], changes: dict[str, Any], _values: Any = article_values) -> Any:
    return _values(values | changes)


def test_no_grid_joins_a_search_and_no_search_a_grid() -> None:
    points = compose([[f"{FILTERS}={count}", f"seed={seed}"] for count in (8, 16) for seed in range(3)])
    sweep()
    with pytest.raises(
        ConfigurationError, match=r"kernels is a search, and its finalists get a verdict from fresh seeds"
    ):
        run_study(points, declared(), article().tracking, Acting(each))
    run_study(points, declared(name="grid"), article().tracking, Acting(each))
    with pytest.raises(ConfigurationError, match=r"^study\.name: must be another: grid holds settings that no search"):
        sweep(declared(**TPE, name="grid"))


# What is typed


def typed(*words: str) -> Space:
    return search_space(OverridesParser.create().parse_overrides(list(words)), 7)


@pytest.mark.parametrize(
    ("word", "dimension", "text"),
    [
        (f"{FILTERS}=64,8,16,8", Dimension(("8", "16", "64"), is_ordered=True), "8,16,64"),
        (f"{FILTERS}=shuffle(64,8)", Dimension(("8", "64"), is_ordered=True), "8,64"),
        (f"{KERNEL}=range(1,6,2)", Dimension(("1", "3", "5"), is_ordered=True), "1,3,5"),
        ("model=small,deep", Dimension(("deep", "small")), "deep,small"),
        (f"{KERNEL}=[3,5],5", Dimension(("5", "[3,5]")), "5,[3,5]"),
        (f"{RATE}=interval(0.0005,0.01)", Dimension(low=0.0005, high=0.01), "interval(0.0005,0.01)"),
        (
            f"{RATE}=tag(log,interval(0.0005,1))",
            Dimension((), False, 0.0005, 1.0, True),
            "tag(log,interval(0.0005,1.0))",
        ),
        (f"{FILTERS}=int(interval(1,64))", Dimension(low=1, high=64), "interval(1,64)"),
    ],
)
def test_what_is_swept_is_what_is_searched(word: str, dimension: Dimension, text: str) -> None:
    space = typed(word, "training=smoke", "seed=range(2)")
    key = word.partition("=")[0]
    assert space == Space({key: dimension}, (0, 1), ("training=smoke",))
    assert str(dimension) == text


def test_without_a_seed_it_is_that_of_the_configuration_and_the_last_word_counts() -> None:
    assert typed(f"{FILTERS}=8,16", f"{FILTERS}=8", "model=small,deep").seeds == (7,)
    assert typed(f"{FILTERS}=8,16", f"{FILTERS}=8", "model=small,deep").words == (f"{FILTERS}=8",)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (f"{RATE}=interval(0.1,0.01)", r"is an empty interval\. Write the lower end first"),
        (f"{RATE}=tag(log,interval(0,0.01))", r"must begin above 0 to be searched by its logarithm"),
        ("seed=interval(0,9)", r"must name whole numbers in a search\. Write 'seed=0,1'"),
        ("tracking.enabled=true,false", r"is the same for all runs"),
    ],
)
def test_what_can_not_be_searched_is_refused_by_what_was_typed(word: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        typed(word)


def test_an_interval_without_a_search_says_what_a_grid_takes() -> None:
    overrides: Sequence[Any] = OverridesParser.create().parse_overrides([f"{RATE}=interval(0.001,0.01)"])
    with pytest.raises(UserError, match=r"names no values\. A sweep takes a list .* a search \(study\.search\) any"):
        split_grid(overrides)
