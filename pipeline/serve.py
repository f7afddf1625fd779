"""Serve a released model over HTTP, on this machine only: MLflow's own scoring server.

python -m pipeline.serve                     models:/conv2d@champion on port 5001
curl -s http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"inputs": [[[0, …], …]]}'

`inputs` are images uint8 [n, height, width] (with channels last where there are several); `predictions` are the
probabilities of the classes, in the order that the model's card names.
"""

import os
import sys
import tempfile
from pathlib import Path

from pipeline.config.load import read_section
from pipeline.config.schema import Tracking
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.tracking.addresses import address

HOST = "127.0.0.1"


def main() -> int:
    parser = command.arguments(__doc__, "serve")
    parser.add_argument("--model", default="models:/conv2d@champion", metavar="URI", help="default: the champion")
    parser.add_argument("--port", type=int, default=5001, help="default: 5001")
    arguments = parser.parse_args()
    tracking = read_section(project.PARAMS, Tracking)
    command.check_free(HOST, arguments.port, "make serve PORT=5002")
    from pipeline.tracking.download import download_released  # noqa: PLC0415 - mlflow takes seconds to load

    with tempfile.TemporaryDirectory() as folder:
        # That it is there, and whole.
        download_released(tracking, arguments.model, Path(folder))
    os.environ |= {"MLFLOW_TRACKING_URI": address(tracking), "TF_CPP_MIN_LOG_LEVEL": "3"}
    print(f"{arguments.model}: http://{HOST}:{arguments.port}/invocations (Ctrl-C ends it)", flush=True)
    words = ["models", "serve", "--model-uri", arguments.model, "--env-manager", "local"]
    words += ["--host", HOST, "--port", str(arguments.port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *words])  # noqa: S606


if __name__ == "__main__":
    command.run(main)
