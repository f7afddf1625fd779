"""The report of a search: what was tried in which order, the best so far, no verdict, and the line that gives one."""

import csv
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.findings import write
from pipeline.findings.figures import draw_figures
from pipeline.findings.load import ScoredImages, from_store, from_study
from pipeline.findings.results import Answer, Results, compute_results
from pipeline.findings.tables import as_csv, results_json, settings
from pipeline.findings.wording import headline
from pipeline.statistics.scores import Scores
from pipeline.storage import project
from pipeline.studies.bundle import pack_study, unpack_study
from pipeline.studies.hydra_entry import check_arguments, split_grid
from pipeline.studies.search import FRESH_SEEDS, verdict_line
from pipeline.studies.study import Search, Study, Trial, read_study, update_study
from pipeline.studies.study_config import StudyConfig
from pipeline.terminal.errors import UserError
from pipeline.tracking.download import StoredRun
from pipeline.tracking.fields import all_tags
from pipeline.tracking.study_fields import study_tags
from tests.harness.reports import grid_values, write_study
from tests.harness.studies import a_project, declared

ORDER = 4, 0, 8, 4, 1, 2, 3, 5, 6, 7
"""The settings by trial; the fourth is proposed again."""

SCORES = 85 + np.add.outer(np.arange(9.0), [0.0, 0.5])
NONE = ScoredImages(missing="none here.")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def explored(scores: Scores = SCORES, planned: int = 11, **changes: Any) -> Study:
    """A search whose trials have the settings of ORDER, and one that can't exist at the end."""
    study = write_study(scores, baseline=None)
    found = [
        Trial(
            {key: str(grid_values()[row][key]) for key in ("model.conv.filters", "model.conv.kernel_size")}, f"s{row}"
        )
        for row in ORDER
    ]
    impossible = Trial({"model.conv.filters": "64", "model.conv.kernel_size": "29"}, None)
    search = Search(
        sampler="tpe",
        planned=planned,
        space={"model.conv.filters": "16,32,64", "model.conv.kernel_size": "3,5,7,29"},
        seeds=tuple(range(scores.shape[1])),
        words=("training=smoke", "model.dropout=0.1"),
        trials=(*found, impossible),
    )
    refused = ({"setting": "model.conv.filters=64 model.conv.kernel_size=29", "reason": "29 is larger than the image"},)
    return replace(study, search=search, refused=refused, **changes)


def results(study: Study) -> Results:
    return compute_results(from_study(study))


def test_a_search_gives_no_verdict_on_any_setting() -> None:
    found = results(explored())
    assert (found.answer, found.supported, found.differences) == (Answer.EXPLORED, False, [])
    assert (found.cheapest, found.runner_up, found.corrected, found.effects) == (None, None, None, None)
    assert headline(found) == (
        "A search, no verdict: of 11 trials number 3 scored highest, 93.25 % over 2 seeds: 7 × 7 kernels, 64 filters."
    )
    text = write.markdown(found, NONE)
    assert "**This is exploration: it gives no verdict.**" in text
    for word in ("better", "worse", "equivalent", "baseline**", "95 %", "can't tell"):
        assert word not in text.replace("\\", "").replace("'study.baseline=", ""), word
    table = list(csv.DictReader(io.StringIO(as_csv(settings(found)))))
    assert {row["verdict"] for row in table} == {""}
    assert {row["baseline"] for row in table} == {"false"}
    assert "baseline" not in write.as_tex(found).partition("\\toprule")[2]


def test_the_trials_stand_in_their_order_with_the_best_so_far() -> None:
    text = write.markdown(results(explored()), NONE)
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| \d+: ", line)]
    assert [row[0].partition(":")[0] for row in rows] == [f"| {number}" for number in range(1, 12)]
    scored = [None if row[1] == "–" else float(row[1]) for row in rows]
    expected = [85.25 + row for row in ORDER]
    assert scored == [*expected, None]
    assert [float(row[2]) for row in rows] == [*np.maximum.accumulate(expected), 93.25]
    assert "as trial 1" in rows[3][4]
    assert "can't exist: 29 is larger than the image" in rows[10][4]
    wide, narrow = draw_figures(results(explored()), NONE)
    assert list(wide) == list(narrow) == ["trials"]
    assert b"best so far" in wide["trials"]
    assert wide == draw_figures(results(explored()), NONE)[0]


def test_a_trial_that_lacks_a_score_is_no_finalist_and_a_search_that_has_none_says_so() -> None:
    scores = SCORES.copy()
    scores[8, 1] = np.nan
    found = results(explored(scores))
    assert "number 10 scored highest, 92.25 %" in headline(found)
    assert found.settings[found.winner or 0].label == "7 × 7 kernels, 32 filters"
    assert "not scored" in write.markdown(found, NONE)
    nothing = results(explored(np.where(SCORES > 0, [SCORES, np.nan * SCORES][1], 0)))
    assert nothing.answer is Answer.NO_SCORE
    assert "Nothing can be said" in write.answer(nothing)
    assert b"No trial has a score" in draw_figures(nothing, NONE)[0]["trials"]


def test_what_is_printed_names_the_best_trials_and_the_line() -> None:
    study = explored()
    said = write.answer(results(study))
    assert "- trial 3: 93.25 %, 7 × 7 kernels, 64 filters" in said
    assert verdict_line(study) in said
    assert json.loads(results_json(results(study)))["comparison"]["trials"][2]["score"] == 93.25


def words(study: Study) -> list[str]:
    line = shlex.split(verdict_line(study))
    assert line[:4] == ["python", "-m", "pipeline.sweep", "-m"]
    return line[4:]


def test_the_line_runs_the_finalists_with_fresh_seeds_as_a_study_of_its_own() -> None:
    typed = words(explored())
    check_arguments(typed)
    overrides = OverridesParser.create().parse_overrides(typed)
    section = yaml.safe_load((project.CONF / "sweep.yaml").read_text("utf-8"))["study"]
    section |= {
        one.key_or_group.removeprefix("study."): one.value()
        for one in overrides
        if one.key_or_group.startswith("study.")
    }
    config = StudyConfig.model_validate(section)
    config.check_search()
    assert (config.name, config.search, config.baseline) == ("kernels_finalists", None, {"setting": "trial3"})
    jobs = split_grid([one for one in overrides if not one.key_or_group.startswith("study.")], config)
    assert len(jobs) == 3 * FRESH_SEEDS
    assert {word for job in jobs for word in job if word.startswith("seed=")} == {f"seed={n}" for n in range(2, 12)}
    settings = {job[-3]: set(job) for job in jobs}
    assert list(settings) == ["+study.setting=trial3", "+study.setting=trial10", "+study.setting=trial9"]
    assert {"training=smoke", "model.conv.filters=64", "model.conv.kernel_size=7"} < settings["+study.setting=trial3"]


def test_a_search_that_its_study_declares_is_left_out_of_the_line_for_its_finalists() -> None:
    study = explored()
    assert study.search is not None
    study = replace(study, search=replace(study.search, words=("+study=wide", "model.dropout=0.1")))
    assert words(study)[:4] == ["+study=wide", "model.dropout=0.1", "study.search=null", "study.trials=null"]
    assert verdict_line(replace(study, search=None)) == ""


def test_a_bundle_of_a_search_packs_the_same_bytes_and_joins_one_that_went_on(tmp_path: Path) -> None:
    made = explored(planned=20, state="interrupted")
    study = update_study(project.study("kernels"), lambda _: made)
    assert study.search is not None
    earlier = replace(study, search=replace(study.search, planned=11, trials=study.search.trials[:5]))
    path = tmp_path / "bundle"
    path.write_bytes(pack_study(earlier))
    assert unpack_study(path) == (study, 0)
    path.write_bytes(pack_study(study))
    assert pack_study(unpack_study(path)[0]) == path.read_bytes()
    other = replace(earlier, search=replace(study.search, trials=study.search.trials[::-1]))
    path.write_bytes(pack_study(other))
    with pytest.raises(UserError, match="is of another declaration"):
        unpack_study(path)


def test_a_study_without_a_search_has_the_file_that_it_had_before_there_were_any() -> None:
    assert '"search"' not in write_study(SCORES).document
    assert '"search"' in explored().document


def test_a_trial_of_a_setting_that_is_missing_is_damage() -> None:
    study = explored()
    update_study(project.study("kernels"), lambda _: replace(study, settings=dict(list(study.settings.items())[:8])))
    with pytest.raises(UserError, match=r"is damaged \(settings s8 are missing\)"):
        read_study(project.study("kernels"))


def test_mlflow_is_told_that_a_study_is_a_search_which_no_store_can_compare() -> None:
    tags = study_tags(explored())
    assert all_tags(tags)["search"] == "tpe"
    stored = [StoredRun("0" * 32, "FINISHED", 0, {}, {}, all_tags(tags))]
    with pytest.raises(UserError, match=r"^kernels: is a search, whose order no store tells\. Compare it where"):
        from_store(stored, "sqlite", "")


def test_no_launcher_but_the_projects_own_searches() -> None:
    with pytest.raises(UserError, match=r"^study\.search: needs the project's own launcher"):
        declared(search="tpe", trials=3).check_launcher()
