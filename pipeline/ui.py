"""The MLflow UI over the project's store, on this machine only.

It binds 127.0.0.1 and refuses requests that name another host. MLFLOW_TRACKING_URI names another SQLite store; of a
server, which has a UI of its own, the links are printed.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow

from pipeline.studies.study import find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking import study_fields
from pipeline.tracking.addresses import StoreUnreachableError, address, is_database, tracking_of, without_secrets
from pipeline.tracking.store import open_store, write_experiment_tags

HOST = "127.0.0.1"
BETWEEN_CALLS = 0.2
"""Seconds after which a server that starts is called again."""


def main() -> int:
    parser = command.arguments(__doc__, "ui")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    parser.add_argument("--study", help="the links to this study: its runs, the best first, and the means over seeds")
    arguments = parser.parse_args()
    port, study = arguments.port, None if arguments.study is None else find_study(arguments.study)
    tracking = tracking_of(study)
    where = address(tracking)
    is_local = is_database(where)
    if not is_local and not where.startswith(("http://", "https://")):
        raise UserError(
            f"{without_secrets(where)}: is neither an SQLite database nor a server, and this command shows these: "
            "MLFLOW_TRACKING_URI must begin with sqlite:///, http:// or https://. For PostgreSQL or another database "
            "name the MLflow server in front of it."
        )
    if is_local:
        _check_path(Path(mlflow.__file__).parent)
        command.check_free(HOST, port, "make ui PORT=5001")
    try:
        store = open_store(tracking)
        # An earlier version saved none. On a server that may be left to those who write there.
        views = study_fields.experiment_tags() | ({} if study is None else study_fields.view_tags(study))
        tags = write_experiment_tags(store, views if is_local else {})
    except StoreUnreachableError as error:
        raise UserError(f"{error}.") from None
    ui = f"http://{HOST}:{port}" if is_local else without_secrets(where).rstrip("/")
    has_rules = f"{study_fields.VIEW}{study_fields.RULES}" in tags
    links = ({"rules of thumb": study_fields.RULES} if has_rules else {}) | {"MLflow UI": study_fields.STUDIES}
    if study is not None:
        runs, means = study_fields.study_views(study.name)
        links = {"runs, the best first": runs, "means over seeds": means}
    known = page_knows_views()
    pages = {words: study_fields.page(store.experiment_id, view if known else None) for words, view in links.items()}
    lines = [f"{words}: {ui}/{page}" for words, page in pages.items()]
    if is_local:
        return _serve(where, port, [*lines, "(Ctrl-C ends it)"])
    print("\n".join(lines))
    return 0


def page_knows_views() -> bool:
    """Whether MLflow's page looks for views where they are saved: in another version it may not."""
    scripts = (Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js").glob("main.*.js")
    return any(study_fields.VIEW in script.read_text("utf-8", "replace") for script in scripts)


def _serve(where: str, port: int, lines: list[str]) -> int:
    """Serve the store until it is ended; print `lines` once it answers."""
    # Without jobs and with one worker it is two processes, which end together.
    os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    os.environ["PYTHONWARNINGS"] = "ignore"
    options = ["--host", HOST, "--port", str(port), "--workers", "1"]
    options += ["--backend-store-uri", where, "--registry-store-uri", where]
    options += ["--allowed-hosts", f"{HOST}:{port},localhost:{port}"]
    quiet = ["--uvicorn-opts", "--log-level warning"]
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *options, *quiet])
    # Ctrl-C reaches it too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(BETWEEN_CALLS)
        else:
            print("\n".join(lines), flush=True)
            break
    return abs(server.wait())


def _check_path(package: Path) -> None:
    """The server's processes are MLflow's alone: what pipeline.tracking.store mends for ours is not mended there."""
    if "%" in str(package):
        raise UserError(
            f"{package}: has a % in its path, below which MLflow's server opens no database; runs are recorded all the "
            "same. Move the project to a path without it and make its environment there anew (make setup)."
        )


if __name__ == "__main__":
    command.run(main)
