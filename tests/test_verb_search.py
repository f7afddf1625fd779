"""A search as a user types it, with Optuna itself: killed, typed again, compared, and its finalists given a verdict."""

import importlib.util
import shlex
import time
from pathlib import Path

import pytest

from pipeline.studies.search import INSTALL
from tests.harness.project import Project
from tests.harness.sweeps import children, faulty_project, parent, study, sweep

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason=f"no Optuna: {INSTALL}")

DECLARED = """\
# @package _global_
study: {name: wide, search: tpe, trials: 6}
training: {learning_rate: 0.02}
hydra:
  sweeper:
    params:
      model.conv.filters: 4, 8, 16
      model.conv.kernel_size: int(interval(1, 5))
      training.momentum: tag(log, interval(0.5, 0.95))
      seed: range(2)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = faulty_project(tmp_path_factory.mktemp("search"))
    (project.path / "conf" / "study" / "wide.yaml").write_text(DECLARED)
    return project


@pytest.mark.long
@needs_optuna
def test_a_declared_search_is_killed_goes_on_and_its_finalists_get_a_verdict(prepared: Project) -> None:
    line = "python", "-m", "pipeline.sweep", "+study=wide", "training.optimizer=sgd"
    first = prepared.start(*line)
    try:
        deadline = time.monotonic() + 300
        while len(list(prepared.path.glob("runs/*/evaluation/evaluation.json"))) < 3:
            assert first.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        first.kill()
        first.wait()
    trials = study(prepared, "wide")["search"]["trials"]
    assert len(trials) == 5
    said = prepared.run(*line)
    assert "5 trials proposed" in said
    assert "trials 6 to 6 of 6; best so far" in said
    found = study(prepared, "wide")
    assert (found["state"], found["search"]["trials"][:5]) == ("finished", trials)
    assert len(children(prepared, "wide")) == len(found["cells"]) == 12
    assert parent(prepared, "wide").data.tags["outcome"] == "finished"
    compared = prepared.verb("compare", "wide")
    assert compared.startswith("A search, no verdict: of 6 trials number ")
    refused = prepared.verb("promote", "wide", status=1)
    assert "--anyway promotes" in refused
    (typed,) = [one for one in compared.splitlines() if one.startswith("python -m pipeline.sweep")]
    assert typed in said
    words = shlex.split(typed)[3:]
    assert words[-1] == "seed=range(2,12)"
    assert "30 runs (3 settings, 10 seeds)" in sweep(prepared, *words, "study.dry_run=true")
    sweep(prepared, *words[:-1], "seed=range(2,5)")
    verdict = prepared.verb("compare", "wide_finalists")
    assert "3 settings" in verdict
    assert not verdict.startswith(("A search", "No verdict"))


def test_a_search_without_optuna_says_how_to_install_it(prepared: Project, tmp_path: Path) -> None:
    (tmp_path / "optuna.py").write_text("raise ImportError")
    said = prepared.verb("sweep", "+study=wide", status=1, PYTHONPATH=f"{tmp_path}")
    assert said == f"error: study.search: needs Optuna, which is not installed: `{INSTALL}`\n"
    assert not (prepared.path / "studies").exists()
