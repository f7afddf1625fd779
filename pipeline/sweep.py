"""Many settings × seeds: train what is missing, score on held-out images, compare in MLflow. A Hydra application."""

import contextlib
import sys

from pipeline.storage import lock, project
from pipeline.terminal import command

HELP = """\
Train and compare many settings × seeds on held-out images. What is done already is not done again.

  python -m pipeline.sweep -m model.conv.kernel_size=3,5,7 model.conv.filters=16,32,64 'seed=range(3)'
  python -m pipeline.sweep +study=kernels_by_filters          a study declared in conf/study/
  python -m pipeline.sweep … study.dry_run=true               its plan: how many runs, how long, what they can tell
  python -m pipeline.sweep … 'seed=range(10)' study.stop=decided
                                                              a race: a setting whose verdict stands gets no more seeds
  python -m pipeline.sweep … 'training.learning_rate=interval(0.0005,0.01)' study.search=tpe study.trials=20
                                                              a search: an optimiser proposes settings; no verdict
  python -m pipeline.sweep … study.hours=2                    what two hours do; the same line goes on
  python -m pipeline.sweep … --yes                            more than 300 runs without a question
  python -m pipeline.sweep … study.leave_out_refused=true     without the settings that can't exist
  python -m pipeline.sweep … study.score_on=test              opens the test images
  python -m pipeline.sweep … study.executor=ray study.address=head:6379
                                                              on a Ray cluster, with the same bits (docs/scale.md)
  python -m pipeline.sweep … hydra/launcher=joblib            another launcher
  python -m pipeline.sweep --cfg job                          what would run

Variants (group=option):

{variants}

Any key of the configuration can be set or swept (README, or --cfg job). Those of the study itself:

  study.name            default: from the keys that are swept and what else was chosen, but for the seed
  study.baseline        the setting that others are compared with: {{"model.conv.kernel_size": 5}}, {{model: article}}
  study.margin          points of accuracy that matter (0.5)
  study.zip             swept keys whose values go together: [model.conv.filters,model.conv.kernel_size]
  study.settings        settings by name, in a file of conf/study: {{deep: {{model: deep}}}}
  study.exclude         combinations that are left out: [{{model.conv.filters: 64, model.conv.kernel_size: 7}}]
  study.contrasts       questions asked in advance, in a file of conf/study (docs/sweeps.md)
  study.error_rate      of all verdicts of the study together (0.05)
  study.stop            decided: a race until each verdict stands; best: until only the best is left
  study.search          tpe (near to what scored well) or random: an optimiser proposes the settings (docs/sweeps.md)
  study.trials          how many settings a search tries
  study.hours           starts no run that would end later
  study.stop_on_failure true: a run that fails is the last that was started
  study.jobs            runs at once (cores / training.threads)
  study.executor        local: processes of this machine; ray: a Ray cluster (local)
  study.address         host:port of the cluster's head (default: a cluster of this machine)
  study.pictures        true: pictures and all files in MLflow, as `dvc repro` has them

A Hydra application (https://hydra.cc): --hydra-help tells its own options."""


def main() -> int:
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        # Hydra would take a second to list the same variants.
        print(HELP.format(variants=variants()))
        return 0
    from pipeline.config.compose import read_choice  # noqa: PLC0415 - after the help
    from pipeline.studies.hydra_entry import check_arguments, name_study, run_application, shows  # noqa: PLC0415
    from pipeline.studies.run_study import launch_one  # noqa: PLC0415

    arguments = [word if word not in ("-y", "--yes") else "study.ask=false" for word in arguments]
    working = contextlib.nullcontext() if shows(arguments) else lock.sweep()
    with working:
        check_arguments(arguments)
        choice = read_choice(project.CHOSEN)
        run_application(name_study(arguments, {**choice.variants, **choice.values}), launch_one)
    return 0


def variants() -> str:
    """A line for each group of conf/, `model: article, deep, small`."""
    groups = sorted(path.name for path in project.CONF.iterdir() if path.is_dir())
    return "\n".join(f"{group}: {', '.join(project.variants(group))}" for group in groups)


if __name__ == "__main__":
    command.run(main)
