"""Make the winner of a study the choice: conf/chosen.yaml and params.yaml. Then `dvc repro` trains it on all images.

python -m pipeline.promote kernels_by_filters                 the highest mean, of those shown to be better if any is
python -m pipeline.promote kernels_by_filters --cheapest      the fewest multiply-adds that are not worse by the margin
python -m pipeline.promote kernels_by_filters --show          what would change; writes nothing
"""

from pipeline.config.compose import outcome, promote_setting, read_choice, write
from pipeline.findings.comparison import Comparison
from pipeline.findings.load import from_study
from pipeline.findings.results import Results, compute_results
from pipeline.findings.wording import best_sentence, headline, more_seeds, winner_name
from pipeline.storage import project
from pipeline.studies.study import find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import tracking_of
from pipeline.tracking.mirror_process import announce


def main() -> int:
    parser = command.arguments(__doc__, "promote")
    parser.add_argument("study", help="a study's name")
    parser.add_argument("--cheapest", action="store_true", help="of those not worse than the winner within the margin")
    parser.add_argument("--anyway", action="store_true", help="even without a verdict, or selected on test images")
    parser.add_argument("--show", action="store_true", help="show what would change and write nothing")
    arguments = parser.parse_args()
    study = find_study(arguments.study)
    results = compute_results(from_study(study))
    comparison, note = results.comparison, _note(results.comparison)
    setting = results.cheapest if arguments.cheapest else results.winner
    if results.winner is None or setting is None:
        raise UserError(f"{comparison.study}: {best_sentence(results)}")
    if not arguments.anyway:
        _check(results, setting, note)
    print(_said(results, results.winner, setting))
    if note:
        print(f"warning: {note}")
    choice = outcome(promote_setting(read_choice(project.CHOSEN), comparison.settings[setting].values, note))
    if not choice.tell():
        print("params.yaml holds this already")
    if arguments.show:
        return 0
    write(choice)
    held_out = choice.configuration.data.validation_images
    trains_on = "all training images" if held_out == 0 else f"all but {held_out:,} training images"
    opens = "scores on the test images that selected it" if note else "opens the test images"
    print(f"params.yaml written; `dvc repro` trains on {trains_on} and {opens}")
    verdict = f"{headline(results)} Promoted: {comparison.label(setting)}."
    if said := announce(tracking_of(study), study.name, verdict):
        print(said)
    return 0


def _check(results: Results, setting: int, note: str) -> None:
    """Raises UserError for a choice that the study does not carry."""
    comparison = results.comparison
    if note:
        raise UserError(f"{comparison.study}: {note} Select on validation images; --anyway promotes it all the same.")
    if not results.supported:
        more = f" {more_seeds(comparison)}" if results.seeds_needed is not None else ""
        raise UserError(
            f"{comparison.study}: {best_sentence(results)}{more} --anyway promotes "
            f"{comparison.label(setting)} all the same."
        )


def _note(comparison: Comparison) -> str:
    """What is to be known wherever the choice goes; empty where validation images selected it."""
    scores = "what `dvc repro` scores of this choice on them is no score on unseen images"
    return f"The study {comparison.study} selects on test images: {scores}." if comparison.images == "test" else ""


def _said(results: Results, winner: int, setting: int) -> str:
    comparison = results.comparison
    if setting == winner:
        what = f"the {winner_name(results)} of {len(results.settings)} settings"
        return f"{best_sentence(results)} Chosen: {comparison.label(setting)}, {what}."
    return (
        f"{comparison.label(setting)}: the fewest multiply-adds of those that are not worse than "
        f"{comparison.label(winner)} by {comparison.margin:g} points or more"
    )


if __name__ == "__main__":
    command.run(main)
