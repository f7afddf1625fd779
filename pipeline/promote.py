"""Make the winner of a study the choice: conf/chosen.yaml and params.yaml. Then `dvc repro` trains it on all images.

python -m pipeline.promote kernels_by_filters                 the highest mean, of those shown to be better if any is
python -m pipeline.promote kernels_by_filters --cheapest      the fewest multiply-adds that are not worse by the margin
python -m pipeline.promote kernels_by_filters --show          what would change; writes nothing
"""

from pipeline.config.compose import outcome, promoted, read_choice, write
from pipeline.findings.cautions import still_open
from pipeline.findings.decision import Decision, decide
from pipeline.findings.evidence import Evidence
from pipeline.findings.records import from_study
from pipeline.findings.sentences import winner_in_words
from pipeline.storage import project
from pipeline.studies.study import find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError


def main() -> int:
    parser = command.arguments(__doc__, "promote")
    parser.add_argument("study", help="a study's name")
    parser.add_argument("--cheapest", action="store_true", help="of those not worse than the winner within the margin")
    parser.add_argument("--anyway", action="store_true", help="even without a verdict, or selected on test images")
    parser.add_argument("--show", action="store_true", help="show what would change and write nothing")
    arguments = parser.parse_args()
    evidence = from_study(find_study(arguments.study))
    decision = decide(evidence)
    setting = _setting(decision, cheapest=arguments.cheapest)
    if not arguments.anyway:
        _check(evidence, decision)
    print(_said(evidence, decision, setting))
    note = _note(evidence)
    if note:
        print(f"warning: {note}")
    found = outcome(promoted(read_choice(project.CHOSEN), evidence.settings[setting].values, note))
    for key, old, new in found.changes:
        print(f"{key}: {old} → {new}")
    if not found.changes:
        print("params.yaml holds this already")
    if arguments.show:
        return 0
    write(found)
    held_out = found.configuration.data.validation_images
    trains_on = "all training images" if held_out == 0 else f"all but {held_out:,} training images"
    opens = "scores on the test images that selected it" if note else "opens the test images"
    print(f"params.yaml written; `dvc repro` trains on {trains_on} and {opens}")
    return 0


def _check(evidence: Evidence, decision: Decision) -> None:
    """Raises UserError for a choice that the study does not carry."""
    if note := _note(evidence):
        raise UserError(f"{evidence.study}: {note} Select on validation images; --anyway promotes it all the same.")
    if not decision.supported:
        more = " More seeds join the same study." if decision.seeds_needed is not None else ""
        raise UserError(
            f"{evidence.study}: gives no verdict for {evidence.label(_setting(decision, cheapest=False))}. "
            f"{decision.reason}{more} --anyway promotes without a verdict."
        )


def _note(evidence: Evidence) -> str:
    """What is to be known wherever the choice goes; empty where validation images selected it."""
    if evidence.images != "test":
        return ""
    return (
        f"The study {evidence.study} selects on test images: what `dvc repro` scores of this choice on them is no "
        "score on unseen images."
    )


def _setting(decision: Decision, *, cheapest: bool) -> int:
    found = decision.cheapest if cheapest else decision.winner
    if found is None:
        raise UserError(f"{decision.reason} Nothing can be promoted.")
    return found


def _said(evidence: Evidence, decision: Decision, setting: int) -> str:
    label = evidence.label(setting)
    if setting == decision.winner:
        what = winner_in_words(decision)
        said = f"{label}: the {what} of {len(evidence.settings)} settings. {decision.reason}"
        return f"{said}{still_open(evidence, decision)}"
    return (
        f"{label}: the fewest multiply-adds of those that are not worse than {evidence.label(decision.winner or 0)} "
        f"by {evidence.margin:g} points or more"
    )


if __name__ == "__main__":
    command.run(main)
