"""Where and from what a run was made: recorded, no part of its identity."""

import os
import platform
import subprocess
from pathlib import Path

from pydantic import JsonValue

from pipeline.record.identity import versions
from pipeline.storage import project


def environment() -> dict[str, JsonValue]:
    """Git commit and whether there are uncommitted changes, versions, hardware."""
    # What the pipeline itself writes is no change of a person's.
    status = _git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)record", ":(exclude)reports")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if status is None else bool(status),
        "versions": dict(versions()),
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": _memory_gib(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def _git(*arguments: str) -> str | None:
    """What git answers; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=project.ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
