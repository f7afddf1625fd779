"""Make the winner of a study the choice: conf/chosen.yaml and params.yaml. Then `dvc repro` trains it on all images.

python -m pipeline.promote kernels_by_filters                 the setting with the highest mean
python -m pipeline.promote kernels_by_filters --cheapest      the fewest multiply-adds that are not worse by the margin
python -m pipeline.promote kernels_by_filters --show          what would change; writes nothing
"""

from pipeline.composition.choice import read_choice
from pipeline.composition.promotion import promoted
from pipeline.composition.writing import outcome, write
from pipeline.record.study import find_study
from pipeline.report.decision import Decision, decide
from pipeline.report.evidence import Evidence
from pipeline.report.records import from_study
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError


def main() -> int:
    parser = command.arguments(__doc__, "promote")
    parser.add_argument("study", help="a study's name")
    parser.add_argument("--cheapest", action="store_true", help="of those not worse than the winner within the margin")
    parser.add_argument("--anyway", action="store_true", help="even where the study gives no verdict")
    parser.add_argument("--show", action="store_true", help="show what would change and write nothing")
    arguments = parser.parse_args()
    evidence = from_study(find_study(arguments.study))
    decision = decide(evidence)
    setting = _setting(decision, cheapest=arguments.cheapest)
    if not decision.supported and not arguments.anyway:
        raise UserError(
            f"{evidence.study}: gives no verdict for {evidence.label(_setting(decision, cheapest=False))}. "
            f"{decision.reason} More seeds join the same study; --anyway promotes without a verdict."
        )
    print(_said(evidence, decision, setting))
    found = outcome(promoted(read_choice(project.CHOSEN), evidence.settings[setting].values))
    for key, old, new in found.changes:
        print(f"{key}: {old} → {new}")
    if not found.changes:
        print("params.yaml holds this already")
    if arguments.show:
        return 0
    write(found)
    held_out = found.configuration.data.validation_images
    trains_on = "all training images" if held_out == 0 else f"all but {held_out:,} training images"
    print(f"params.yaml written; `dvc repro` trains on {trains_on} and opens the test images")
    return 0


def _setting(decision: Decision, *, cheapest: bool) -> int:
    found = decision.cheapest if cheapest else decision.winner
    if found is None:
        raise UserError(f"{decision.reason} Nothing can be promoted.")
    return found


def _said(evidence: Evidence, decision: Decision, setting: int) -> str:
    label = evidence.label(setting)
    if setting == decision.winner:
        return f"{label}: the highest mean of {len(evidence.settings)} settings. {decision.reason}"
    return (
        f"{label}: the fewest multiply-adds of those that are not worse than {evidence.label(decision.winner or 0)} "
        f"by {evidence.margin:g} points or more"
    )


if __name__ == "__main__":
    command.run(main)
