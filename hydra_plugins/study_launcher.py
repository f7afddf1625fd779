"""Hydra's way in: a sweeper that checks settings, not seeds, and the launcher that hands it to pipeline.studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """The basic sweeper, which composes every job before the first starts: here each setting once."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs of what was typed and of what a study declares. Raises UserError where a key can't be swept so."""
        from pipeline.config.guard import check_swept  # noqa: PLC0415

        check_swept(overrides)
        jobs: list[list[list[str]]] = BasicSweeper.split_arguments(overrides, max_batch_size)
        return jobs

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        if isinstance(self.launcher, PoolLauncher):
            # It composes all of them itself before it starts any.
            return
        settings = {tuple(word for word in job if not word.startswith("seed=")): job for job in batch}
        super().validate_batch_is_legal(list(settings.values()))


class PoolLauncher(Launcher):
    """Runs a grid on this machine's cores: resumed, isolated. See pipeline.studies."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        # Every verb that composes imports this plugin: what it needs comes when it is used.
        from pipeline.studies.hydra_entry import composed_grid  # noqa: PLC0415
        from pipeline.studies.run_study import launch_grid  # noqa: PLC0415

        launch_grid(composed_grid(self.hydra_context.config_loader, self.config, job_overrides))
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=None) for job in job_overrides]


@dataclass
class _Sweeper:
    _target_: str = "hydra_plugins.study_launcher.GridSweeper"
    max_batch_size: int | None = None
    params: Any = None


@dataclass
class _Launcher:
    _target_: str = "hydra_plugins.study_launcher.PoolLauncher"


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=_Sweeper, provider="conv2d pipeline")
ConfigStore.instance().store(group="hydra/launcher", name="pool", node=_Launcher, provider="conv2d pipeline")
