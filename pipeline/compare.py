"""Say what a study supports: reports/<study>/ with report.html, report.md, pictures, CSV, and a table for a paper.

Reads the records of a study; or, where these are elsewhere, runs of the MLflow store, by id or by a filter. The report
is attached to the study's MLflow run when the store can be reached.
"""

import contextlib
import shlex
import sys
import webbrowser

from pipeline.config.load import read_section
from pipeline.config.schema import Tracking
from pipeline.findings.comparison import Comparison
from pipeline.findings.load import from_store, from_study
from pipeline.findings.results import compute_results
from pipeline.findings.tables import results_json
from pipeline.findings.wording import headline
from pipeline.findings.write import answer, write_report
from pipeline.storage import project
from pipeline.studies.bundle import renew_bundle
from pipeline.studies.study import find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import RUN_ID, StoreUnreachableError, tracking_of
from pipeline.tracking.mirror_process import announce, started_early


def main() -> int:
    parser = command.arguments(__doc__, "compare")
    parser.add_argument("study", nargs="*", help="a study's name, or MLflow run ids")
    parser.add_argument("--mlflow", metavar="FILTER", help="runs of the store: \"tags.study = 'kernels_by_filters'\"")
    parser.add_argument("--json", action="store_true", help="say it in JSON, for machines")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    arguments = parser.parse_args()
    if bool(arguments.study) == (arguments.mlflow is not None):
        parser.error("name a study, MLflow run ids, or --mlflow with a filter")
    stored = arguments.mlflow is not None or all(RUN_ID.fullmatch(word) for word in arguments.study)
    if not stored and len(arguments.study) > 1:
        must = "must be one study, or MLflow run ids of 32 hexadecimal digits"
        raise UserError(f"{' '.join(arguments.study)}: {must}.")
    study = None if stored else find_study(arguments.study[0])
    tracking = read_section(project.PARAMS, Tracking) if study is None else tracking_of(study)
    attached = tracking.enabled and study is not None
    with started_early() if attached else contextlib.nullcontext():
        comparison = _stored(tracking, arguments.study, arguments.mlflow) if study is None else from_study(study)
        results = compute_results(comparison)
        folder = project.REPORTS / comparison.study
        write_report(results, folder)
        page = folder / "report.html"
        page = page.relative_to(project.ROOT) if page.is_relative_to(project.ROOT) else page
        # Before the store is waited for.
        promote = [line for line in results.commands if results.supported and "pipeline.promote" in line]
        print(results_json(results) if arguments.json else "\n".join([answer(results), "", str(page), *promote]))
        if study is not None and renew_bundle(study):
            print(f"note: {project.bundle(study.name).name} beside it holds these runs now, too", file=sys.stderr)
        if arguments.open and not webbrowser.open((project.ROOT / page).as_uri()):
            print(f"note: there is no browser here: open {page} elsewhere", file=sys.stderr)
        # A list in MLflow has room for every claim.
        verdict = headline(results, most_claims=len(results.questions))
        said = announce(tracking, comparison.study, verdict, folder) if attached else ""
        if said and not arguments.json:
            print(said)
    return 0


def _stored(tracking: Tracking, named: list[str], wanted: str | None) -> Comparison:
    """Runs of the MLflow store: those of a filter, or by their ids."""
    from pipeline.tracking.download import find_runs, get_runs  # noqa: PLC0415 - mlflow takes 1.5 s

    try:
        runs, where = get_runs(tracking, named) if wanted is None else find_runs(tracking, wanted)
    except StoreUnreachableError as error:
        raise UserError(
            f"{error}. MLFLOW_TRACKING_URI says where the store is, else `tracking` in params.yaml."
        ) from None
    return from_store(runs, where, " ".join(named) if wanted is None else f"--mlflow {_quoted(wanted)}")


def _quoted(wanted: str) -> str:
    """A filter as a person types it: filters hold single quotes."""
    return f'"{wanted}"' if not set('"$`\\!\n') & set(wanted) else shlex.quote(wanted)


if __name__ == "__main__":
    command.run(main)
