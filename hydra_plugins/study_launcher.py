"""Hydra's way in: a sweeper that makes a grid, and the launcher that hands it to pipeline.studies."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# Every verb that composes imports this plugin: what it needs of the pipeline comes when it is used.


class GridSweeper(Sweeper):
    """Hands every combination of what is swept to the launcher: `params`, which a study declares, and what is typed."""

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from pipeline.config.compose import values  # noqa: PLC0415
        from pipeline.config.messages import validated  # noqa: PLC0415
        from pipeline.studies.hydra_entry import search_space, split_grid  # noqa: PLC0415
        from pipeline.studies.study_config import StudyConfig  # noqa: PLC0415

        # Settings that are typed take the place of what the study's file sweeps.
        is_named = any(word.lstrip("+").startswith("study.settings") for word in arguments)
        params = {} if is_named else self.params
        words = [*(f"{key}={value}" for key, value in params.items()), *arguments]
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(words)
        study = validated(StudyConfig, values(self.config.study), prefix="study")
        study.check_search()
        if study.search is not None and isinstance(self.launcher, PoolLauncher):
            return self.launcher.search(search_space(overrides, self.config.seed))
        if not isinstance(self.launcher, PoolLauncher):
            study.check_launcher()
        jobs = split_grid(overrides, study)
        if not isinstance(self.launcher, PoolLauncher):
            # The project's own composes all of them itself before it starts any. Each setting once, not each seed.
            settings = {tuple(word for word in job if not word.startswith("seed=")): job for job in jobs}
            self.validate_batch_is_legal(list(settings.values()))
        # A job that raised says so when it is asked for what it returned.
        return [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)]


class PoolLauncher(Launcher):
    """Runs a grid on this machine's cores: resumed, isolated. See pipeline.studies."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        from pipeline.studies.hydra_entry import composed_grid  # noqa: PLC0415
        from pipeline.studies.run_study import launch_grid  # noqa: PLC0415

        launch_grid(composed_grid(self.hydra_context.config_loader, self.config, job_overrides))
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=None) for job in job_overrides]

    def search(self, space: Any) -> None:
        from functools import partial  # noqa: PLC0415

        from pipeline.studies.hydra_entry import composed_grid  # noqa: PLC0415
        from pipeline.studies.run_study import launch_search  # noqa: PLC0415

        launch_search(space, partial(composed_grid, self.hydra_context.config_loader, self.config, shared=space.words))


for group, name, plugin in (("sweeper", "grid", GridSweeper), ("launcher", "pool", PoolLauncher)):
    node = {"_target_": f"hydra_plugins.study_launcher.{plugin.__name__}"}
    ConfigStore.instance().store(group=f"hydra/{group}", name=name, node=node, provider="conv2d pipeline")
