"""The MLflow UI over the project's store, on this machine only.

It binds 127.0.0.1 and refuses requests that name another host. MLFLOW_TRACKING_URI names another SQLite store; a
server's address is opened in the browser as it is.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

import mlflow

from pipeline.config.load import read_section
from pipeline.config.schema import Tracking
from pipeline.storage import project
from pipeline.studies.study import Study, find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.store import StoreUnreachableError, address, is_database, open_store, shown

HOST = "127.0.0.1"


def main() -> int:
    parser = command.arguments(__doc__, "ui")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    parser.add_argument("--study", help="the link to the runs of this study, the best first")
    arguments = parser.parse_args()
    port = arguments.port
    study = None if arguments.study is None else find_study(arguments.study)
    tracking = read_section(project.PARAMS, Tracking)
    where = address(tracking)
    if where.startswith(("http://", "https://")):
        raise UserError(f"{shown(where)}: is a server that has a UI of its own. Open that address in a browser.")
    if not is_database(where):
        raise UserError(
            f"{shown(where)}: is neither an SQLite database nor a server, and this command shows the former: "
            "MLFLOW_TRACKING_URI or tracking.address must begin with sqlite:/// there."
        )
    _check_path(Path(mlflow.__file__).parent)
    command.check_free(HOST, port, "make ui PORT=5001")
    try:
        store = open_store(tracking)
    except StoreUnreachableError as error:
        raise UserError(f"{error}.") from None
    print(f"MLflow UI: http://{HOST}:{port}/#{page(store.experiment_id, study)} (Ctrl-C ends it)", flush=True)
    # Without jobs and with one worker it is two processes, which end together.
    os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    os.environ["PYTHONWARNINGS"] = "ignore"
    options = ["--host", HOST, "--port", str(port), "--workers", "1"]
    options += ["--backend-store-uri", where, "--registry-store-uri", where]
    options += ["--allowed-hosts", f"{HOST}:{port},localhost:{port}"]
    quiet = ["--uvicorn-opts", "--log-level warning"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *options, *quiet])  # noqa: S606


def page(experiment_id: str, study: Study | None) -> str:
    """The page of training runs; MLflow itself would open one for conversations with language models."""
    wanted = {"workflowType": "machine_learning"}
    if study is not None:
        wanted |= {
            "searchFilter": f"tags.study = '{study.name}' and tags.role = 'run'",
            # Sorted by a metric the list is flat, and shows the runs and not only their parent.
            "orderByKey": f"metrics.`{study.images}/accuracy`",
            "orderByAsc": "false",
        }
    return f"/experiments/{experiment_id}/runs?{urlencode(wanted, quote_via=quote)}"


def _check_path(package: Path) -> None:
    """The server's processes are MLflow's alone: what pipeline.tracking.store mends for ours is not mended there."""
    if "%" in str(package):
        raise UserError(
            f"{package}: has a % in its path, below which MLflow's server opens no database; runs are recorded all the "
            "same. Move the project to a path without it and make its environment there anew (make setup)."
        )


if __name__ == "__main__":
    command.run(main)
