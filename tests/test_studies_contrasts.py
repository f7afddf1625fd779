"""Questions that are asked of a study in advance: what can be asked, and what is kept of when it was."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.messages import ConfigurationError, validated
from pipeline.storage import project
from pipeline.storage.digest import sealed, unsealed
from pipeline.studies.console import print_results
from pipeline.studies.plan import Plan, merge_plan, plan_grid
from pipeline.studies.race import contrast_verdicts, due, standing, verdicts
from pipeline.studies.study import DeclaredContrast, Point, Study, read_study, update_study
from pipeline.studies.study_config import StudyConfig
from tests.harness.conducting import finish
from tests.harness.settings import article_values
from tests.harness.studies import START, a_project, cell, declared, prepare, study


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    prepare()


def weights(*each: tuple[int, float]) -> list[dict[str, Any]]:
    return [{"setting": {"model.conv.filters": filters}, "weight": weight} for filters, weight in each]


GAIN: Mapping[str, Any] = {"claim": "16 filters gain", "expects": "gain", "weights": weights((16, 1), (8, -1))}


def asking(**changes: Any) -> StudyConfig:
    """A declaration with one contrast, `doubling`."""
    return declared(contrasts={"doubling": {**GAIN, **changes}})


def plan(config: StudyConfig, filters: Sequence[int] = (8, 16, 32), seeds: Sequence[int] = (0, 1)) -> Plan:
    values = [{"model.conv.filters": count, "seed": seed} for count in filters for seed in seeds]
    return plan_grid([Point(str(one), article_values({"data.validation_images": 10} | one)) for one in values], config)


def merged(present: Study | None, config: StudyConfig, **more: Any) -> Study:
    return merge_plan(present, plan(config, **more), config)


# What can be asked


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": weights((16, 1), (8, -0.5))}, r"doubling\.weights: must sum to 0 .* with sum 0\.5"),
        ({"weights": weights((16, 0), (8, 0))}, r"doubling\.weights: must sum to 0 and not all be 0"),
        ({"weights": weights((16, 1), (9, -1))}, r"doubling\.weights\.1\.setting: must be exactly one .* is 0 of 3"),
        ({"weights": weights((16, 1), (16, -1))}, r"doubling\.weights\.1\.setting: must be weighed once"),
        ({"score": "seconds"}, r"doubling\.margin: must say which seconds matter, not null\. Write margin: 1\."),
    ],
)
def test_a_contrast_that_compares_nothing_is_refused_by_its_key(changes: dict[str, Any], told: str) -> None:
    config = asking(**changes)
    with pytest.raises(ConfigurationError, match=rf"^study\.contrasts\.{told}"):
        config.check_grid(plan(config).settings)


@pytest.mark.parametrize(
    ("stop", "changes", "told"),
    [
        ("decided", {"score": "gap"}, r"^study\.contrasts\.doubling\.score: must be accuracy in a race, not gap\."),
        ("best", {}, r"^study\.stop: must be decided where contrasts are declared, not best"),
    ],
)
def test_a_race_is_over_contrasts_of_accuracy(stop: str, changes: dict[str, Any], told: str) -> None:
    config = declared(stop=stop, contrasts={"doubling": {**GAIN, **changes}})
    with pytest.raises(ConfigurationError, match=told):
        config.check_grid(plan(config).settings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expects": "better"}, r"study\.contrasts\.doubling\.expects: must be one of gain, no_harm, no_gain, not"),
        ({"claim": " "}, r"study\.contrasts\.doubling\.claim: must have at least 1 character, not"),
        ({"margin": 0}, r"study\.contrasts\.doubling\.margin: must be more than 0\.0, not 0"),
        ({"weights": weights((16, 1))}, r"study\.contrasts\.doubling\.weights: must have at least 2 values"),
        (
            {"weights": [{"setting": {}, "weight": "1"}] * 2},
            r"study\.contrasts\.doubling\.weights\.0\.weight: must be a",
        ),
        ({"weigths": 1}, r"study\.contrasts\.doubling\.weigths: is no key .* Did you mean .*weights\?"),
        ({"colour": 1}, r"study\.contrasts\.doubling\.colour: is no key .* Keys here: claim, expects, weights, score"),
    ],
)
def test_a_contrast_that_is_none_is_told_by_key_rule_and_value(changes: dict[str, Any], told: str) -> None:
    plain = declared().model_dump() | {"contrasts": {"doubling": {**GAIN, **changes}}}
    with pytest.raises(ConfigurationError, match=told):
        validated(StudyConfig, plain, prefix="study")


def test_a_contrast_may_weigh_many_settings_and_sum_to_zero_by_rounding() -> None:
    config = asking(weights=weights((8, 1 / 3), (16, 1 / 3), (32, -2 / 3)))
    settings = plan(config).settings
    config.check_grid(settings)
    assert [config.weights("doubling", settings)[name] for name in settings] == [1 / 3, 1 / 3, -2 / 3]


# When it was asked


def test_a_contrast_is_kept_with_its_time_and_the_runs_that_had_ended() -> None:
    found = merged(None, asking())
    (asked,) = found.contrasts
    names = list(found.settings)
    assert (asked.name, asked.claim, asked.expects) == ("doubling", "16 filters gain", "gain")
    assert (asked.weights, asked.score, asked.margin) == ({names[1]: 1.0, names[0]: -1.0}, "accuracy", 0.5)
    assert asked.declared.endswith("+00:00")
    assert asked.runs_before == 0
    # The same line later, when runs have ended, asks what was asked.
    for job in plan(asking()).jobs:
        finish(job)
    assert merged(replace(found, contrasts=(replace(asked, declared="then"),)), asking()).contrasts == (
        replace(asked, declared="then"),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"claim": "16 filters lose"},
        {"expects": "no_harm"},
        {"margin": 0.1},
        {"score": "gap"},
        {"weights": weights((16, -1), (8, 1))},
        {"weights": weights((16, 1), (32, -1))},
    ],
)
def test_a_contrast_that_is_changed_after_runs_were_seen_is_marked(changes: dict[str, Any]) -> None:
    before = merged(None, asking())
    for job in plan(asking()).jobs[:3]:
        finish(job)
    (asked,) = merged(before, asking(**changes)).contrasts
    # Of three runs that have ended two are of 8 filters and one is of 16.
    assert asked.runs_before == (1 if changes.get("weights") == weights((16, 1), (32, -1)) else 3)


def test_a_contrast_that_is_added_after_runs_were_seen_is_marked_and_those_of_other_settings_are_not_counted() -> None:
    before = merged(None, declared())
    jobs = plan(declared()).jobs
    finish(jobs[4])
    assert merged(before, asking()).contrasts[0].runs_before == 0
    finish(jobs[0])
    assert merged(before, asking()).contrasts[0].runs_before == 1


def test_a_run_that_another_study_did_was_seen_too() -> None:
    finish(plan(declared()).jobs[0])
    assert merged(None, asking()).contrasts[0].runs_before == 1


def commit(config: StudyConfig, conf: Path, moment: int) -> None:
    """Commit the file of conf/study/ that declares the study, `moment` milliseconds after 1970."""
    path = conf / "study" / "rules" / "kernels.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        "data": {"validation_images": 10},
        "study": config.model_dump(mode="json", include={"name", "contrasts"}),
        "hydra": {"sweeper": {"params": {"model.conv.filters": "8,16,32"}}},
    }
    path.write_text(f"# @package _global_\n{json.dumps(plain)}\n")
    commit_all(conf, moment)


def commit_all(conf: Path, moment: int) -> None:
    date = f"{moment // 1000} +0000"
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "declared"]):
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-C", str(conf), *words]
        subprocess.run(command, check=True, env=os.environ | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})


def test_a_contrast_stands_declared_since_its_file_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that runs which another study did after that were not seen before it was declared."""
    config, other, conf = asking(), asking(claim="16 filters lose"), tmp_path / "conf"
    jobs = plan(config).jobs
    for job in jobs[:3]:
        finish(job)
    for each in (conf, tmp_path / "later"):
        shutil.copytree(project.CONF, each)
    commit(config, conf, START + 30_000)
    monkeypatch.setattr(project, "CONF", conf)
    (asked,) = merged(None, config).contrasts
    assert (asked.runs_before, asked.declared) == (0, "2023-11-14T22:13:50+00:00")
    # Another contrast than is committed, and a file that is not as it was committed.
    assert merged(None, other).contrasts[0].runs_before == 3
    # The same words of another training than the file declares.
    longer = replace(plan(config), settings={
        name: replace(one, values={**one.values, "training.epochs": 99}) for name, one in plan(config).settings.items()
    })  # fmt: skip
    assert merge_plan(None, longer, config).contrasts[0].runs_before == 3
    # A repeat stands since both its file and that of the study which it repeats were committed.
    repeat = config.model_copy(update={"name": "repeat"})
    says = {"defaults": ["/study/rules/kernels", "_self_"], "study": {"name": "repeat"}}
    (conf / "study" / "repeat.yaml").write_text(f"# @package _global_\n{json.dumps(says)}\n")
    assert merged(None, repeat).contrasts[0].runs_before == 3
    commit_all(conf, START + 40_000)
    assert merged(None, repeat).contrasts[0].declared == "2023-11-14T22:14:00+00:00"
    with (conf / "study" / "rules" / "kernels.yaml").open("a") as file:
        file.write("\n")
    assert merged(None, config).contrasts[0].runs_before == 3
    assert merged(None, repeat).contrasts[0].runs_before == 3
    # Committed after the runs.
    commit(config, tmp_path / "later", START + 90_000)
    monkeypatch.setattr(project, "CONF", tmp_path / "later")
    assert merged(None, config).contrasts[0].runs_before == 3


def test_a_contrast_that_is_no_longer_asked_stays_asked() -> None:
    found = merged(None, asking())
    assert merged(found, declared()).contrasts == found.contrasts


def test_a_contrast_keeps_its_time_when_the_code_has_changed_and_a_new_one_counts_what_that_had_run() -> None:
    found = merged(None, asking())
    cells = tuple(replace(run, state="finished", accuracy=0.5) for run in found.cells)
    asked = replace(found.contrasts[0], declared="then")
    earlier = replace(found, basis="earlier", cells=cells, contrasts=(asked,))
    assert merged(earlier, asking()).contrasts == (asked,)
    assert merged(replace(earlier, contrasts=()), asking()).contrasts[0].runs_before == len(cells)


def test_a_study_with_contrasts_is_read_as_it_was_written_and_one_of_a_time_without_them_too() -> None:
    found = merged(None, declared(stop=None, error_rate=0.1, contrasts={"doubling": GAIN}))
    folder = project.study("kernels")
    assert update_study(folder, lambda _: found) == read_study(folder) == found
    values = unsealed((folder / "study.json").read_text())
    for key in ("stop", "error_rate", "contrasts"):
        del values[key]
    (folder / "study.json").write_text(sealed(values))
    old = read_study(folder)
    assert (old.stop, old.error_rate, old.contrasts) == (None, 0.05, ())
    assert json.loads((folder / "study.json").read_text())["layout"] == 2


# A race over contrasts


def contrast(name: str, **of: float) -> DeclaredContrast:
    return DeclaredContrast(name, "it gains", "gain", of, "accuracy", 0.5, "then", 0)


def test_a_race_over_contrasts_goes_on_with_what_an_open_one_weighs(capsys: pytest.CaptureFixture[str]) -> None:
    means = {"a": 0.5, "b": 0.6, "c": 0.502, "d": 0.5}
    cells = [
        cell(name, seed, accuracy=mean + (seed % 2) * place / 1000)
        for place, (name, mean) in enumerate(means.items())
        for seed in range(3)
    ]
    waiting = [cell(name, seed, "waiting") for name in means for seed in range(3, 8)]
    found = replace(
        study({name: {"k": name} for name in means}, [*cells, *waiting]),
        stop="decided",
        contrasts=(contrast("clear", b=1, a=-1), contrast("open", c=1, a=-1)),
    )
    now = standing(found)
    assert now is not None
    assert sorted(now.open) == [0, 2]
    assert due(found, ()) == {(name, seed) for name in "ac" for seed in range(4)}
    assert verdicts(found)[0] == {"b": "stopped after 3 seeds", "d": "in no contrast"}
    assert contrast_verdicts(found) == {"clear": "supported after 3 seeds", "open": "open"}
    print_results(found)
    assert "contrast clear, it gains: supported after 3 seeds" in capsys.readouterr().out
    assert contrast_verdicts(replace(found, stop=None)) == {}
