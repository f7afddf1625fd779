"""The main job beside the article's script: seconds, processor seconds, peak memory, as ratios.

Runs each contender in turn, several times, on the prepared data (`dvc repro preprocess` first), in a copy of the
project, and writes medians to benchmarks/main_job.json.

  python benchmarks/main_job.py [--rounds 3] [--epochs 3]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("benchmarks", "conf", "data", "pipeline", "params.yaml")


@dataclass(frozen=True)
class Cost:
    """Of one command and all it started: seconds, processor seconds (user and system), peak MiB of one process."""

    seconds: float
    processor_seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    epochs = f"training.epochs={arguments.epochs}"
    with tempfile.TemporaryDirectory() as folder:
        project = _copy(Path(folder))
        contenders = {
            "article's script": ["benchmarks/article.py", "--epochs", str(arguments.epochs)],
            "train, tracking on": ["-m", "pipeline.train"],
            "train, tracking off": ["-m", "pipeline.train"],
            "evaluate": ["-m", "pipeline.evaluate"],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, command in contenders.items():
                tracking = "off" if name == "train, tracking off" else "local"
                _run(project, ["-m", "pipeline.compose", "--reset", epochs, f"tracking={tracking}"])
                if command[-1] == "pipeline.train":
                    shutil.rmtree(project / "checkpoints", ignore_errors=True)
                    (project / "mlflow.db").unlink(missing_ok=True)
                costs[name].append(_run(project, command))
                print(f"{name:20}  {costs[name][-1]}", flush=True)
    _write(costs, arguments.epochs)


def _copy(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("raw", "__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _run(project: Path, command: list[str]) -> Cost:
    """Run Python with `command` in a child whose children are counted too."""
    code = (
        "import json, resource, subprocess, sys, time\n"
        "started = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *command],
        cwd=project,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return Cost(*(round(value, 2) for value in json.loads(done.stdout)))


def _write(costs: dict[str, list[Cost]], epochs: int) -> None:
    medians = {
        name: {field: statistics.median(getattr(cost, field) for cost in found) for field in Cost.__annotations__}
        for name, found in costs.items()
    }
    base, tracked, untracked = (
        medians[name]["seconds"] for name in ("article's script", "train, tracking on", "train, tracking off")
    )
    result = {
        "epochs": epochs,
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "medians": medians,
        "all": {name: [asdict(cost) for cost in found] for name, found in costs.items()},
        "ratios": {
            "train, tracking on / article's script": round(tracked / base, 3),
            "tracking on / tracking off": round(tracked / untracked, 3),
        },
    }
    path = ROOT / "benchmarks" / "main_job.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["ratios"], indent=2))


if __name__ == "__main__":
    main()
