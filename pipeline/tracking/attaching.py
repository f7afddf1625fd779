"""A report among the artifacts of its study, put there by a process that imports MLflow while the report is made."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.tracking.process import dismiss, started

if TYPE_CHECKING:
    from pipeline.config.schema import Tracking

COMMAND = [sys.executable, "-m", "pipeline.track", "--attach"]


class Attaching:
    """A context in which one report can be attached; its process ends with it, whether it was needed or not."""

    def __init__(self, tracking: "Tracking") -> None:
        self._tracking = tracking

    def __enter__(self) -> Self:
        self._process = started(COMMAND)
        return self

    def attach(self, study: str, folder: Path) -> str:
        """Put `folder` among the artifacts of the study's MLflow run; returns what to tell."""
        report = {"tracking": self._tracking.model_dump(mode="json"), "study": study, "folder": str(folder)}
        said = self._process.communicate(json.dumps(report))[0].strip()
        return (
            said or f"not attached: the process that writes to the store ended with status {self._process.returncode}"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            dismiss(self._process)
