"""Check the configuration before anything is downloaded, and write down what decides what: which code, what is built.

The first stage of dvc.yaml, run each time. The other stages depend on the fingerprints it writes, so that dvc.lock
moves only when something moves that decides a result: an edit of a docstring, or of an error's words, reruns nothing.
"""

import os
from collections.abc import Mapping

from pipeline.config.layers import layer_table
from pipeline.config.load import ForbiddenError, configure, read_params, read_yaml
from pipeline.config.schema import Configuration
from pipeline.config.specification import hashed, specify
from pipeline.run.environment import device, versions
from pipeline.run.identity import deciding_code, fingerprint, layer_list, scoring_code
from pipeline.run.record import LAYOUT
from pipeline.storage import atomic, lock, project
from pipeline.storage.digest import as_json
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.addresses import check_address

PREPARING_CODE = (
    "pipeline/preprocess.py",
    *(f"pipeline/data/{name}.py" for name in ("idx", "prepare", "summary")),
    *(f"pipeline/figures/{name}.py" for name in ("examples", "style")),
    "pipeline/storage/arrays.py",
)
"""The code that decides what the prepared images are."""

DRAWING_CODE = ("pipeline/figures/*.py",)
"""The code that decides, beside the scores', what an evaluation writes."""

MOST_SHOWN = 3

EXPERIMENT = "DVC_EXP_NAME"
"""Set by DVC where `dvc exp run` runs the stage: it has composed params.yaml just now, of conf/ and what was typed."""


def main() -> int:
    command.arguments(__doc__, "check").parse_args()
    configuration = read_params(project.PARAMS)
    check_address(configuration.tracking)
    if notice := _notice():
        print(notice)
    print("params.yaml is a network that can exist", flush=True)
    console.print(layer_table(specify(configuration).layers()))
    with lock.stage():
        for stage, deciding in fingerprints(configuration).items():
            atomic.write_file(project.FINGERPRINTS / f"{stage}.json", as_json(deciding))
    return 0


def _notice() -> str | None:
    """One line where conf/ and params.yaml differ; params.yaml is what counts."""
    from pipeline.config.compose import compose_folder, differences, values  # noqa: PLC0415 - Hydra, needed here alone

    try:
        found = values(compose_folder(project.CONF))
        configure(found)
    except ForbiddenError:
        # DVC's own composition would have done it.
        raise
    except UserError as error:
        if EXPERIMENT in os.environ:
            return None
        return f"note: conf/ composes to nothing valid ({error}); params.yaml counts"
    differing = list(differences(found, read_yaml(project.PARAMS)))
    if not differing or EXPERIMENT in os.environ:
        return None
    named = ", ".join(f"{key} {present} (conf/: {would_be})" for key, would_be, present in differing[:MOST_SHOWN])
    more = f" and {len(differing) - MOST_SHOWN} more" if len(differing) > MOST_SHOWN else ""
    return (
        f"note: params.yaml counts, and it is not what conf/ composes to: {named}{more}. "
        "To take conf/: python -m pipeline.compose"
    )


def fingerprints(configuration: Configuration) -> dict[str, Mapping[str, object]]:
    """For each stage, what decides what it writes beside its files and parameters.

    What is built is named whole: the code that makes it of params.yaml is not hashed. So all that moves a run's
    identity moves the stage that trains it.
    """
    specification = specify(configuration)
    built = {**hashed(specification), "layers": layer_list(specification)}
    environment = {"device": device(), "versions": versions(), "layout": LAYOUT}
    return {
        "preprocess": fingerprint(project.ROOT, PREPARING_CODE),
        "train": {"built": built, "code": deciding_code(), **environment},
        "evaluate": {**scoring_code(), **fingerprint(project.ROOT, DRAWING_CODE), "layout": LAYOUT},
    }


if __name__ == "__main__":
    command.run(main)
