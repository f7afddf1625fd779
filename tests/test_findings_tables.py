"""The results as tables: for a paper, and for Python, with the numbers of results.csv."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.findings import read_study
from pipeline.findings.load import from_study
from pipeline.findings.results import compute_results
from pipeline.findings.tables import as_csv, runs, settings
from pipeline.findings.write import as_tex
from pipeline.terminal.errors import UserError
from tests.harness.reports import comparison, random_scores, write_study
from tests.harness.studies import a_project

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "read_study.ipynb"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def written() -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO(as_csv(settings(compute_results(from_study(write_study(random_scores(5))))))))
    )


def test_every_number_of_the_table_for_a_paper_is_that_of_results_csv() -> None:
    rows = {row["setting"]: row for row in written()}
    text = as_tex(compute_results(from_study(write_study(random_scores(5)))))
    head, body = text.split(r"\midrule")
    assert head.count("&") == 5
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == len(rows)
    for line in lines:
        name, accuracy, seeds, difference, parameters, multiply_adds = line.removesuffix(r" \\").split(" & ")
        row = rows[name.replace(r"$\times$", "×")]
        assert accuracy == rf"${float(row['mean']):.2f} \pm {float(row['deviation']):.2f}$"
        assert (seeds, parameters, multiply_adds) == (row["seeds"], row["parameters"], row["multiply_adds"])
        if row["baseline"] == "true":
            assert difference == "baseline"
            continue
        said = [float(number) for number in re.findall(r"[-+]\d+\.\d+|(?<!\d)0\.00", difference)]
        assert said == [round(float(row[key]), 2) for key in ("difference", "difference_low", "difference_high")]
    means = [float(line.split(" & ")[1].split()[0].strip("$")) for line in lines]
    assert means == sorted(means, reverse=True)


def test_names_that_a_study_gives_its_settings_have_a_column_of_their_own() -> None:
    study = write_study(random_scores(2))
    named = {name: replace(setting, variants={"setting": name}) for name, setting in study.settings.items()}
    table = settings(compute_results(from_study(replace(study, settings=named, baseline={"setting": "s0"}))))
    assert table.header[:3] == ("study.settings", "setting", "seeds")
    assert len(set(table.header)) == len(table.header)
    assert [row[0] for row in table.rows] == list(named)


def test_text_is_text_in_latex() -> None:
    found = comparison([[90.0, 90.1], [90.2, math.nan]], [{"note": r"50 % & \x_{1} ~^#$"}, {"note": "plain"}])
    text = as_tex(compute_results(found))
    assert r"note 50 \% \& \textbackslash{}x\_\{1\} \textasciitilde{}\textasciicircum{}\#\$ & $90.05 \pm 0.07$" in text
    assert r"note plain & $90.20$ & 1 & $+0.20$ " in text


def test_a_table_for_a_paper_says_which_error_rate_its_intervals_have() -> None:
    strict = replace(comparison(random_scores(5)), error_rate=0.01)
    assert "simultaneous 99 % intervals" in as_tex(compute_results(strict))


def test_python_reads_what_the_files_hold() -> None:
    scores = random_scores(3)
    scores[2, 1] = math.nan
    results = compute_results(from_study(write_study(scores)))
    frames = read_study("kernels")
    for frame, table in ((frames.runs, runs(results)), (frames.verdicts, settings(results))):
        assert tuple(frame.columns) == table.header
        assert as_csv(table._replace(rows=frame.values.tolist())) == as_csv(table)
    accuracies = frames.runs.pivot(index="setting", columns="seed", values="accuracy").to_numpy()
    np.testing.assert_allclose(np.sort(accuracies, axis=None), np.sort(scores, axis=None))
    assert frames.verdicts["mean"].dtype == np.float64
    assert frames.runs["model.conv.filters"].tolist()[:3] == [16, 16, 16]
    with pytest.raises(UserError, match="is no study here"):
        read_study("nothing")


def test_the_notebook_runs_cell_by_cell() -> None:
    write_study(random_scores(3), name="kernels_by_filters")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in cell["source"] if line.strip()]
    assert len(lines) <= 10
    names: dict[str, Any] = {}
    tables: list[Any] = []
    for cell in cells:
        *before, last = "".join(cell["source"]).strip().splitlines()
        exec("\n".join(before), names)  # noqa: S102 - our own text
        if " = read_study(" in last:
            exec(last, names)  # noqa: S102
        else:
            tables.append(eval(last, names))  # noqa: S307
    assert [table.shape for table in tables] == [(5, 11), (9, 6), (3, 3)]
    assert tables[1].iloc[0]["setting"] == "5 × 5 kernels, 64 filters"
