"""What a worker keeps: one process trains one run after another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.project import Project, new_project
from tests.harness.sweeps import TINY

JOBS = 20
SCRIPT = """\
import copy, json, os, sys
from pipeline.config.load import read_yaml
from pipeline.studies.study import Point
from pipeline.studies import job
from pipeline.studies.study_config import Declaration
from pipeline.studies.plan import planned
from pipeline.storage import project

values = read_yaml(project.PARAMS)
values["training"]["threads"] = 1
declaration = Declaration(name="memory", baseline=None, margin=0.5, score_on="validation", leave_out_refused=False,
                          jobs=None, pictures=False)
jobs = planned([Point("", values | {"seed": seed}) for seed in range(int(sys.argv[1]))], declaration).jobs

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

job.start_worker(1)
found = []
for one in jobs:
    job.run_in_worker(one)
    found.append(resident())
print(json.dumps(found))
"""


@pytest.mark.long
def test_a_worker_needs_no_more_memory_after_twenty_jobs_than_after_three(tmp_path: Path) -> None:
    project: Project = new_project(tmp_path, *TINY, "training.epochs=1")
    project.run("dvc", "repro", "preprocess")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(JOBS)],
        cwd=project.path,
        env=project.environment | {"PYTHONPATH": str(project.path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    resident = json.loads(done.stdout.splitlines()[-1])
    assert len(resident) == JOBS
    assert resident[-1] < 1.10 * resident[2], resident
