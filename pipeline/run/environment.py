"""Where and from what a run was made: recorded, no part of its identity."""

import os
import platform
import subprocess

from pydantic import JsonValue

from pipeline import LEFT_OUT
from pipeline.run.identity import versions
from pipeline.run.processor import cpu_field, device, processor_class
from pipeline.storage import project

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How Linux calls the instructions that multiply bfloat16, on x86 and on ARM."""


def environment() -> dict[str, JsonValue]:
    """Git commit and whether there are uncommitted changes, versions, hardware."""
    # What the pipeline itself writes is no change of a person's.
    status = _git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)record", ":(exclude)reports")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if status is None else bool(status),
        "versions": {**versions(), "python": platform.python_version()},
        "hardware": {
            "processor": _processor(),
            "processor_class": processor_class(),
            "device": device(),
            "cores": os.cpu_count(),
            "memory_gib": _memory_gib(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def variables_note() -> str | None:
    """Which of a person's variables are not in force, because they would change results."""
    return f"{', '.join(LEFT_OUT)}: left out, such variables change results" if LEFT_OUT else None


def precision_note(precision: str) -> str | None:
    """What a person should know of `precision` on this processor."""
    if precision != "mixed_bfloat16" or not lacks_bfloat16():
        return None
    return (
        "this processor has no bfloat16 arithmetic: mixed_bfloat16 takes about ten times as long as "
        "training.precision=float32"
    )


def lacks_bfloat16() -> bool:
    """Whether this processor has no bfloat16 arithmetic; False too where the system does not tell."""
    instructions = cpu_field("flags") or cpu_field("Features")
    return instructions is not None and not BFLOAT16 & set(instructions.split())


def _git(*arguments: str) -> str | None:
    """What git answers; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=project.ROOT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    return cpu_field("model name") or platform.processor() or platform.machine()


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
