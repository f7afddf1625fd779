"""What a report rests on: runs, failures, code, data, whether the test images were opened; how to make it again."""

from collections import Counter

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import ASTRAY, Evidence, Run
from pipeline.findings.page import Block, Code, Column, Section, Table, Text
from pipeline.findings.remarks import since
from pipeline.findings.statistics.differences import Verdict

LONGEST_REASON = 200


def basis(evidence: Evidence, decision: Decision) -> Section:
    """Identities, commits, digests, failures, the test images, commands."""
    blocks: list[Block] = [Table((Column("", "text"), Column("", "text")), tuple(_facts(evidence)))]
    blocks += _failures(evidence)
    blocks.append(_runs_table(evidence))
    blocks.append(Text("To do it again, and what follows from it:"))
    blocks.append(Code((*evidence.commands, *_next(evidence, decision))))
    undecided = any(found.verdict in (Verdict.CANT_TELL, Verdict.NO_VERDICT) for found in decision.differences)
    if evidence.store is None and evidence.without_score():
        blocks.append(Text("The study's sweep, typed again, does the runs that failed or are missing.", note=True))
    elif evidence.store is None and undecided and not decision.lacking:
        blocks.append(
            Text("More seeds join the same study: type its sweep again with a longer list of seeds.", note=True)
        )
    return Section("What this rests on", "basis", tuple(blocks))


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    scored = [run for run in evidence.runs if run.accuracy is not None]
    found = [("runs", f"{len(scored)} with a score, of {len(evidence.runs)}; identities in runs.csv")]
    if evidence.refused:
        found.append(("left out", f"{numbers.counted(evidence.refused, 'setting')} of the grid that can't exist"))
    found += [
        ("code", _commits(evidence)),
        ("training images", f"SHA-256 {evidence.data}" if evidence.data else "no run tells"),
    ]
    digests = sorted({run.images_digest for run in scored if run.images_digest})
    if digests:
        found.append((f"{evidence.images} images", f"SHA-256 {', '.join(digests)}"))
    found.append(("test images", _test_images(evidence)))
    machines = Counter(run.hardware for run in scored if run.hardware)
    if machines:
        found.append(
            ("machines", "; ".join(f"{name} ({numbers.counted(count, 'run')})" for name, count in machines.items()))
        )
    if evidence.store is not None:
        found.append(("read from", f"the MLflow store {evidence.store}"))
    return found


def _commits(evidence: Evidence) -> str:
    counts = Counter((run.commit, run.uncommitted) for run in evidence.runs if run.accuracy is not None)
    if not counts:
        return "no run"
    parts = []
    for (commit, uncommitted), count in counts.most_common():
        name = "no commit known" if commit is None else f"commit {commit}"
        parts.append(f"{name}{', with uncommitted changes' if uncommitted else ''} ({numbers.counted(count, 'run')})")
    return "; ".join(parts)


def _test_images(evidence: Evidence) -> str:
    if evidence.images == "test":
        return f"opened {since(evidence)}: the scores of this report are scores on them"
    if evidence.store is not None:
        return "not used here; the store does not say whether another study scored these runs on them"
    opened = [run.on_test for run in evidence.runs if run.on_test is not None]
    if opened:
        return (
            f"not used here; but {numbers.counted(len(opened), 'run')} of these, in another study, "
            f"{'was' if len(opened) == 1 else 'were'} scored on them, first at {numbers.moment(min(opened))}"
        )
    return "not opened by any of these runs"


def _failures(evidence: Evidence) -> list[Block]:
    failed = [run for run in evidence.runs if run.outcome in ("failed", *ASTRAY) or run.reason is not None]
    if not failed:
        return [Text("No run failed, collapsed or diverged.")]
    columns = (Column("setting", "text"), Column("seed"), Column("", "text"), Column("reason", "text"))
    rows = tuple(
        (evidence.label(run.setting), str(run.seed), _outcome(run), (run.reason or "")[:LONGEST_REASON])
        for run in failed
    )
    return [
        Text("These are in no mean, difference or noise, whatever score they got.", lead="Failures."),
        Table(
            columns,
            rows,
            title=f"The {numbers.counted(len(rows), 'run')} that failed, collapsed or diverged",
            folded=len(rows) > 12,
        ),
    ]


def _next(evidence: Evidence, decision: Decision) -> list[str]:
    """Commands that go on from here: they need the records."""
    if evidence.store is not None or decision.winner is None:
        return []
    first = next(run for run in evidence.runs if run.setting == decision.winner and run.learned)
    lines = [f"python -m pipeline.reproduce {first.identity}"]
    if evidence.images == "test":
        # What was selected on test images is not offered for `dvc repro` to score on them again.
        return lines
    anyway = "" if decision.supported else " --anyway"
    return [*lines, f"python -m pipeline.promote {evidence.study}{anyway}"]


def _outcome(run: Run) -> str:
    return run.outcome if run.accuracy is None else f"{run.outcome}, {run.accuracy:.2f} %"


def _runs_table(evidence: Evidence) -> Table:
    columns = (
        Column("setting", "text"),
        Column("seed"),
        Column("outcome", "text"),
        Column("accuracy %"),
        Column("identity", "text"),
    )
    rows = tuple(
        (
            evidence.label(run.setting),
            str(run.seed),
            run.outcome,
            numbers.points(run.accuracy, sign=False),
            run.identity,
        )
        for run in evidence.runs
    )
    return Table(columns, rows, title=f"All {numbers.counted(len(rows), 'run')}", folded=True, file="runs.csv")
