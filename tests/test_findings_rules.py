"""The rules of thumb: what a rule's contrasts make of it, what its page says, and that the committed page is theirs."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import rules as verb
from pipeline.findings.results import QuestionResult
from pipeline.findings.rules import (
    Answer,
    Needs,
    RuleResult,
    Rules,
    decide,
    read_rules,
    rule_results,
)
from pipeline.findings.rules_page import readme_table, write_rules
from pipeline.statistics.differences import ContrastResult, ContrastVerdict
from pipeline.statistics.intervals import Interval, t_interval
from pipeline.statistics.scores import Scores
from pipeline.storage import digest, project
from pipeline.studies.bundle import pack_study
from pipeline.studies.study import DeclaredContrast, find_study
from pipeline.terminal.errors import UserError
from tests.harness.reports import write_study
from tests.harness.studies import START, a_project

README = (project.ROOT / "README.md").read_text("utf-8")
LATER, EARLIER = "2026-11-28T10:00:00+00:00", "2020-01-01T00:00:00+00:00"
"""Times after and before the runs of the harness are scored."""

WEIGHTS = [{"setting": {"setting": name}, "weight": weight} for name, weight in (("one", 1), ("base", -1))]
NOISE = np.random.default_rng(5).normal(0, 0.05, (3, 8))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with conf/ and reports/ of its own."""
    monkeypatch.setattr(project, "REPORTS", tmp_path / "reports")
    return tmp_path


def rule(study: str, *contrasts: str, **changes: Any) -> dict[str, Any]:
    return {"rule": f"Rule of {study}", "study": study, "needs": "all", "contrasts": list(contrasts)} | changes


def declare(place: Path, *rules: dict[str, Any], rate: float = 0.01, **changes: Any) -> None:
    """conf/rules.yaml, and for each rule a study with the contrasts that it names, and `rest`."""
    folder = place / "conf" / "study" / "rules"
    folder.mkdir(parents=True, exist_ok=True)
    page = {"error_rate": 0.05, "base": "a small network", "rules": list(rules)} | changes
    (place / "conf" / "rules.yaml").write_text(json.dumps(page), "utf-8")
    for one in rules:
        asked = {
            name: {"claim": f"{name} gains", "expects": "gain", "weights": WEIGHTS}
            for name in (*one["contrasts"], "rest")
        }
        study = {"name": f"rules_{one['study']}", "error_rate": rate, "margin": 0.5, "contrasts": asked}
        (folder / f"{one['study']}.yaml").write_text(json.dumps({"study": study}), "utf-8")


def contrast(name: str, setting: int = 1, **changes: Any) -> DeclaredContrast:
    """A claim that a setting gains against the first."""
    weights = {f"s{setting}": 1.0, "s0": -1.0}
    return replace(DeclaredContrast(name, f"{name} gains", "gain", weights, "accuracy", 0.5, EARLIER, 0), **changes)


def scores(*gains: float, noise: float = 1.0) -> Scores:
    """Scores [settings, 8] around 90 and 90 + gain."""
    table: Scores = np.round(90 + np.array([0, *gains])[:, None] + noise * NOISE[: len(gains) + 1], 2)
    return table


def run(
    place: Path,
    study: str,
    table: Scores,
    *contrasts: DeclaredContrast,
    rate: float = 0.01,
    margin: float = 0.5,
    **changes: Any,
) -> None:
    """The bundle of a study whose records are on disk no more."""
    values: list[dict[str, Any]] = [{"model.conv.filters": 8 * (row + 1)} for row in range(len(table))]
    made = write_study(table, name=study, baseline={"model.conv.filters": 8}, values=values, **changes)
    path = place / "reports" / study / project.BUNDLE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack_study(replace(made, contrasts=contrasts, error_rate=rate, margin=margin)))


def only(rules: Rules) -> RuleResult:
    (own,) = rules.rules
    return own


def results(place: Path) -> Rules:
    return rule_results(place / "conf")


def markdown(rules: Rules, folder: Path) -> str:
    write_rules(rules, folder / "page")
    return (folder / "page" / "report.md").read_text("utf-8")


# What contrasts make of a rule


def answer(verdict: str, mean: float = 0.0, expects: str = "gain", name: str = "one") -> Answer:
    result = ContrastResult(8, mean, 0.1, Interval(mean - 0.1, mean + 0.1), ContrastVerdict(verdict), False, None)
    return Answer(QuestionResult(contrast(name, expects=expects), result, None), 0)


def of_all(said: set[str]) -> str:
    """The head of conf/rules.yaml, word for word."""
    if said == {"supported"}:
        return "supported"
    if "refuted" in said:
        return "refuted"
    return "no difference that matters" if said <= {"supported", "no difference that matters"} else "can't tell"


def of_any(said: set[str]) -> str:
    if "supported" in said:
        return "supported"
    if said == {"refuted"}:
        return "refuted"
    return "no difference that matters" if said <= {"refuted", "no difference that matters"} else "can't tell"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_combination_of_verdicts_makes_the_verdict_that_is_declared(count: int) -> None:
    for said in itertools.product([one.value for one in ContrastVerdict], repeat=count):
        asked = [answer(one) for one in said]
        plain = {"can't tell" if one == "no verdict" else one for one in said}
        assert (decide("all", asked)[0], decide("any", asked)[0]) == (of_all(plain), of_any(plain)), said


@pytest.mark.parametrize(
    ("needs", "verdict", "decides"),
    [
        ("all", "supported", "least"), ("all", "refuted", "least"), ("any", "supported", "most"),
        ("any", "refuted", "most"),
    ],
)  # fmt: skip
def test_the_contrast_that_decides_is_the_weakest_of_all_or_the_strongest_of_any(
    needs: Needs, verdict: str, decides: str
) -> None:
    # By how far each agrees with its claim: 0.2, 0.5 + 0.1, 0.5 - 0.4.
    asked = [
        answer(verdict, 0.2, "gain", "middle"),
        answer(verdict, 0.1, "no_harm", "most"),
        answer(verdict, 0.4, "no_gain", "least"),
    ]
    assert decide(needs, asked)[1].name == decides


@pytest.mark.parametrize(
    ("gain", "noise", "verdict", "words"),
    [
        (1.0, 1.0, "supported", "**It held.** “one gains”, with an effect of"),
        (-1.0, 1.0, "refuted", "**It did not hold here.** “one gains”. The effect is"),
        (0.0, 1.0, "no difference that matters", "**It makes no difference that matters here.**"),
        (0.3, 40.0, "can't tell", "**These runs can't tell.**"),
    ],
)
def test_a_rule_has_the_verdict_and_the_words_of_its_study(
    place: Path, gain: float, noise: float, verdict: str, words: str
) -> None:
    declare(place, rule("filters", "one"))
    table = scores(gain, noise=noise)
    run(place, "rules_filters", table, contrast("one"))
    rules = results(place)
    own = only(rules)
    assert own.verdict == verdict
    assert own.decided_by is not None
    # By hand: one contrast, which has the whole error rate of its study.
    interval = t_interval(table[1] - table[0], comparisons=5)
    assert interval is not None
    result = own.decided_by.question.result
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-8)
    assert rules.runs == 16
    assert rules.seconds == pytest.approx(16 * 3.0)
    text = markdown(rules, place)
    assert words in text
    assert f"1 {verdict}\n" in text
    assert f"| [Rule of filters](../rules_filters/report.md) | {verdict}" in text
    assert "| 16 | 0.0 |" in text


def test_what_is_not_named_is_shown_and_decides_nothing(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_filters", scores(1.0, -1.0), contrast("one"), contrast("rest", 2))
    assert only(results(place)).verdict == "supported"
    text = markdown(results(place), place)
    assert re.search(r"\| rest gains \(beside\) \| refuted \| −[01]\.\d\d points \|", text)
    assert "What is marked *beside* or *again* decides nothing." in text


def test_a_rule_of_many_claims_says_how_each_ended(place: Path) -> None:
    declare(place, rule("filters", "one", "two"), rule("bias", "one", "two", needs="any"))
    run(place, "rules_filters", scores(1.0, 3.0), contrast("one"), contrast("two", 2))
    run(place, "rules_bias", scores(-1.0, -3.0), contrast("one"), contrast("two", 2))
    text = markdown(results(place), place)
    assert "**It held.** The rule needs both of its claims (2 supported). The nearest to failing: “one gains”" in text
    assert (
        "**It did not hold here.** The rule needs one of its 2 claims (2 refuted). The nearest to holding: “one gains”."
    ) in text


def test_a_study_that_has_not_been_run_is_said_with_what_will_decide(place: Path) -> None:
    declare(place, rule("filters", "one", "two", needs="any"), rule("bias", "one"))
    run(place, "rules_bias", scores(1.0), contrast("one"))
    first, second = results(place).rules
    assert (first.verdict, first.own, second.verdict) == (None, None, "supported")
    text = markdown(results(place), place)
    assert "1 supported, 1 not run yet\n" in text
    assert "| Rule of filters | not run yet | | | | | |" in text
    assert "Not run yet. The rule needs one of these claims:\n\n- one gains\n- two gains" in text


def test_a_study_that_lacks_runs_has_no_verdict_yet(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    path = project.bundle("rules_filters")
    assert only(results(place)).verdict == "supported"
    study = find_study("rules_filters")
    waiting = replace(study.cells[-1], state="waiting", accuracy=None, loss=None, seconds=None)
    path.write_bytes(pack_study(replace(study, cells=(*study.cells[:-1], waiting), contrasts=(contrast("one"),))))
    assert (only(results(place)).verdict, only(results(place)).own) == (None, None)


def test_a_claim_that_was_declared_when_its_effect_had_been_seen_is_marked(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_filters", scores(1.0), contrast("one", declared=LATER, runs_before=16))
    assert "| one gains **(declared when 8 seeds of it had been seen)** |" in markdown(results(place), place)


def test_runs_of_a_base_that_others_share_are_no_effect_that_had_been_seen(place: Path) -> None:
    declare(place, rule("filters", "one"))
    # The base of every seed, and of three seeds the other setting too, had been scored then: START + a minute.
    run(place, "rules_filters", scores(1.0), contrast("one", declared=LATER, runs_before=11))
    own = only(results(place)).own
    assert own is not None
    assert own.answers[0].seen == 8
    moment = "2023-11-14T22:13:20+00:00"
    assert START == 1_700_000_000_000
    run(place, "rules_filters", scores(1.0), contrast("one", declared=moment, runs_before=8))
    assert "had been seen)" not in markdown(results(place), place)


def test_where_the_gap_is_asked_the_page_first_shows_that_there_is_one(place: Path) -> None:
    declare(place, rule("filters", "one"))
    table = scores(1.0)
    run(place, "rules_filters", table, contrast("one", score="gap", weights={"s0": 1.0, "s1": -1.0}))
    own = only(results(place)).own
    assert own is not None
    # The last epoch of the harness's records is right on half of the training images.
    gaps = 50 - table[0]
    interval = t_interval(gaps)
    assert interval is not None
    assert own.gap == pytest.approx(float(gaps.mean()))
    assert own.gap_interval is not None
    assert own.gap_interval.low == pytest.approx(interval.low, abs=1e-8)
    assert f"is −{-gaps.mean():.2f} points better on the images it was trained on" in markdown(results(place), place)


def test_repeats_stand_beside_and_decide_nothing(place: Path) -> None:
    declare(place, rule("filters", "one", again={"rules_filters_other": "on others", "rules_filters_long": "longer"}))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    run(place, "rules_filters_other", scores(-1.0), contrast("one"), rate=0.05)
    rules = results(place)
    assert only(rules).verdict == "supported"
    assert rules.spent == 0.01
    text = markdown(rules, place)
    assert re.search(r"\| one gains \(again, on others\) \| refuted \| −[01]\.\d\d points \|", text)
    assert "Study rules\\_filters\\_long has not been run yet." in text
    assert "What matters on others" not in text
    assert ", [on others](../rules_filters_other/report.md)." in text


def test_what_matters_in_a_repeat_is_said_where_it_is_not_the_same(place: Path) -> None:
    declare(place, rule("filters", "one", again={"rules_filters_other": "on others"}))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    run(place, "rules_filters_other", scores(1.0), contrast("one", margin=0.1), margin=0.1)
    assert "What matters on others is 0.1 points." in markdown(results(place), place)


def test_what_is_found_besides_is_told_whatever_the_rules_verdict(place: Path) -> None:
    declare(place, rule("filters", "one", "two", needs="any"))
    gains = contrast("one"), contrast("two", setting=2), contrast("three")
    run(place, "rules_filters", scores(1.0, -2.0, noise=0.1), *gains)
    text = markdown(results(place), place)
    told = r"Also: “two gains” is refuted \(−[12]\.\d\d points\), “three gains” is supported \(\+[01]\.\d\d points\)\."
    assert re.search(rf"\*\*It held\.\*\*.*\n{told}\n", text)


def test_a_claim_about_the_gap_stands_beside_what_becomes_of_the_accuracy(place: Path) -> None:
    declare(place, rule("filters", "one"))
    gap = contrast("one", score="gap", weights={"s0": 1.0, "s1": -1.0})
    run(place, "rules_filters", scores(-1.0, 2.0, noise=0.1), gap, contrast("two", setting=2), contrast("three"))
    assert re.search(r"\| one gains \(accuracy: −[01]\.\d\d points\) \|", markdown(results(place), place))
    assert readme_table(results(place)).count("accuracy: ") == 1


@pytest.mark.parametrize(
    "rows", [{}, {"filters": {"with bfloat16": {"figures": {"medians": {"24": 12.34, "32": 9.9}}}}}]
)
def test_what_was_measured_alone_stands_with_its_rule(
    place: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, Any]
) -> None:
    declare(place, rule("filters", "one", measured="filters"))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    monkeypatch.setattr(project, "ROOT", place)
    (place / "benchmarks").mkdir()
    (place / "benchmarks" / "results.json").write_text(json.dumps(rows))
    text = markdown(results(place), place)
    if rows:
        assert "| | 24 | 32 |\n|---|---:|---:|\n| with bfloat16 | 12.3 | 9.9 |" in text
    else:
        assert "How long a multiply-add takes has not been measured yet." in text


def followed(place: Path, images: str = "test", names: Sequence[str] = ("article", "followed")) -> None:
    table = scores(1.0)
    values: list[dict[str, Any]] = [{"model.conv.filters": 8}, {"model.conv.filters": 16}]
    made = write_study(table, name="rules_followed_on_test", images=images, baseline=None, values=values)
    settings = {
        key: replace(own, variants={"setting": name})
        for (key, own), name in zip(made.settings.items(), names, strict=True)
    }
    path = place / "reports" / made.name / project.BUNDLE
    path.parent.mkdir(parents=True)
    path.write_bytes(pack_study(replace(made, settings=settings)))


def test_a_network_that_follows_the_rules_is_shown_beside_the_articles(place: Path) -> None:
    declare(place, rule("filters", "one"), followed="rules_followed_on_test")
    assert "Study rules\\_followed\\_on\\_test has not been run yet." in markdown(results(place), place)
    followed(place)
    own = results(place).followed
    assert own is not None
    assert own.difference is not None
    assert own.difference.mean == pytest.approx(float((scores(1.0)[1] - scores(1.0)[0]).mean()))
    text = markdown(results(place), place)
    assert f"has {scores(1.0)[0].mean():.2f} ± " in text
    assert "It is better: +" in text


@pytest.mark.parametrize(("images", "second"), [("validation", "followed"), ("test", "other")])
def test_another_study_is_not_taken_for_that_network(place: Path, images: str, second: str) -> None:
    declare(place, rule("filters", "one"), followed="rules_followed_on_test")
    followed(place, images, ("article", second))
    with pytest.raises(UserError, match=r"must compare settings article and followed, scored on the test images"):
        results(place)


# What is wrong is said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"needs": "some"}, "rules.0.needs: must be one of all, any, not"),
        ({"contrasts": ["none"]}, "rules.0.contrasts: must be contrasts of study filters (one, rest), not none."),
        ({"contrasts": []}, "rules.0.contrasts: must have at least 1 values"),
        ({"study": "unknown"}, "rules.0.study: must be a file of "),
        ({"colour": "blue"}, "rules.0.colour: is no key"),
    ],
)
def test_a_slip_of_the_pen_is_told_by_its_key(place: Path, change: dict[str, Any], said: str) -> None:
    declare(place, rule("filters", "one"))
    path = place / "conf" / "rules.yaml"
    page = yaml.safe_load(path.read_text("utf-8"))
    page["rules"][0] |= change
    path.write_text(json.dumps(page), "utf-8")
    with pytest.raises(UserError, match=re.escape(said)) as told:
        read_rules(place / "conf")
    assert f"So says {path}." in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "rules.yaml: is missing. It declares which rules there are"), ("", "rules.yaml: is empty. It declares"),
        ("- 1", "must be a mapping of keys to values"),
        ("{error_rate: 0.05, base: x}", "rules: must be a list of rules"),
        ("{error_rate: 0.9, base: x, rules: [1]}", "error_rate: must be at most 0.5, not 0.9"),
    ],
)  # fmt: skip
def test_a_file_that_declares_no_rules_is_told(place: Path, text: str | None, said: str) -> None:
    (place / "conf").mkdir()
    if text is not None:
        (place / "conf" / "rules.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_rules(place / "conf")


def test_a_bundle_without_a_contrast_that_is_named_is_refused(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_filters", scores(1.0), contrast("rest"))
    with pytest.raises(UserError, match=r"has no contrast one \(rest\), which conf/rules.yaml names"):
        results(place)


def test_a_bundle_of_another_study_is_refused(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_bias", scores(1.0), contrast("one"))
    (place / "reports" / "rules_bias").rename(place / "reports" / "rules_filters")
    with pytest.raises(UserError, match=r"holds study rules_bias. Put it into reports/rules_bias/"):
        results(place)


def test_studies_that_spend_more_than_the_page_promises_are_refused(place: Path) -> None:
    declare(place, rule("filters", "one"), rule("bias", "one"), rate=0.02)
    assert results(place).spent == 0.04
    # A study that ran at another error rate than conf/ declares: what it promises is what it ran at.
    run(place, "rules_filters", scores(1.0), contrast("one"), rate=0.04)
    with pytest.raises(
        UserError, match=r"error_rate: must be at least what its studies have, 0.06, not 0.05. Give each"
    ):
        results(place)


# The page


def test_the_folder_is_whole_repeats_itself_and_its_numbers_are_for_machines_too(place: Path) -> None:
    declare(place, rule("filters", "one"), rule("bias", "one"))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    for name in ("one", "two"):
        write_rules(results(place), place / name)
    files = digest.of_folder(place / "one")
    assert files == digest.of_folder(place / "two")
    assert set(files) == {"report.html", "report.md", "rules.md", "rules.json", "pictures/rules.svg"}
    said = json.loads((place / "one" / "rules.json").read_text("utf-8"))
    assert [own["verdict"] for own in said["rules"]] == ["supported", None]
    result = said["rules"][0]["own"]["answers"][0]["question"]["result"]
    assert result["interval"]["low"] < result["mean"] < result["interval"]["high"]


def test_the_page_has_its_picture_twice_and_links_to_the_reports(place: Path) -> None:
    declare(place, rule("filters", "one"))
    run(place, "rules_filters", scores(7.0, -7.0), contrast("one"), contrast("rest", 2))
    write_rules(results(place), place / "page")
    page = (place / "page" / "report.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") == 2
    assert '<a href="../rules_filters/report.html">Rule of filters</a>' in page
    assert '<td class="verdict better">supported</td>' in page
    picture = (place / "page" / "pictures" / "rules.svg").read_text("utf-8")
    # Far beyond the others: a number at the edge in place of a mark.
    assert re.search(r"\+[67]\.\d\d ▸", picture)
    assert re.search(r"◂ −[67]\.\d\d", picture)
    assert (place / "page" / "rules.md").read_text("utf-8") == readme_table(results(place))
    assert "| Rule of filters | supported |" in readme_table(results(place))


def test_hostile_words_stay_text(place: Path) -> None:
    hostile = "<script>alert(1)</script> | [a](javascript:x)"
    declare(place, rule("filters", "one", rule=hostile), base=hostile)
    run(place, "rules_filters", scores(1.0), contrast("one", claim=hostile))
    write_rules(results(place), place / "page")
    page = (place / "page" / "report.html").read_text("utf-8")
    assert "<script>" not in page
    assert 'href="javascript' not in page


def test_the_verb_writes_the_folder_and_the_readmes_table(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    declare(place, rule("filters", "one"), rule("bias", "one"))
    run(place, "rules_filters", scores(1.0), contrast("one"))
    monkeypatch.setattr(project, "ROOT", place)
    monkeypatch.setattr(project, "CONF", place / "conf")
    monkeypatch.setattr("sys.argv", ["rules"])
    (place / "README.md").write_text("# Title\n<!-- rules -->\nold\n<!-- end -->\nrest <!-- end -->\n", "utf-8")
    assert verb.main() == 0
    said = capsys.readouterr().out
    assert "Rule of filters: supported\nRule of bias: not run yet\n\nreports/rules/report.html\n" in said
    table = (place / "reports" / "rules" / "rules.md").read_text("utf-8")
    written = (place / "README.md").read_text("utf-8")
    assert written == f"# Title\n<!-- rules -->\n{table}<!-- end -->\nrest <!-- end -->\n"


# The repository's own


@pytest.fixture(scope="module")
def committed() -> Rules:
    return rule_results(project.CONF)


def test_the_studies_of_the_rules_share_the_error_rate_and_have_their_own_seeds() -> None:
    page, rules = read_rules(project.CONF)
    assert len(rules) == len({study.name for _, study in rules})
    assert sum(study.error_rate for _, study in rules) <= page.error_rate
    for own, study in rules:
        sweep = yaml.safe_load((project.CONF / "study" / "rules" / f"{own.study}.yaml").read_text("utf-8"))
        assert sweep["hydra"]["sweeper"]["params"]["seed"] == "range(100, 108)"
        assert study.name == f"rules_{own.study}"


def test_the_committed_page_is_what_the_committed_bundles_say(tmp_path: Path, committed: Rules) -> None:
    write_rules(committed, tmp_path / "rules")
    assert digest.of_folder(tmp_path / "rules") == digest.of_folder(project.REPORTS / "rules")


def test_what_a_bundle_asks_is_what_is_declared(committed: Rules) -> None:
    _, declared = read_rules(project.CONF)
    assert any(own.own and own.own.answers for own in committed.rules)
    for (_, study), own in zip(declared, committed.rules, strict=True):
        for one in own.own.answers if own.own else ():
            asked, conf = one.question.declared, study.contrasts[one.name]
            assert (asked.claim, asked.expects, asked.score) == (conf.claim, conf.expects, conf.score)
        assert own.own is None or own.own.error_rate == study.error_rate


@pytest.mark.skipif("<!-- rules -->" not in README, reason="the README has no table of the rules")
def test_the_readmes_table_is_that_of_the_committed_page() -> None:
    (table,) = verb.TABLE.findall(README)
    assert table == (project.REPORTS / "rules" / "rules.md").read_text("utf-8")
