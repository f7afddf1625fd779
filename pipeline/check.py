"""Check the configuration before anything is downloaded, and write down which code decides what.

The first stage of dvc.yaml. The other stages depend on the fingerprints it writes, so that an edit of a docstring
reruns nothing but this.
"""

import os

from pipeline.composition.composing import composed, values
from pipeline.composition.difference import differences
from pipeline.composition.forbidden import ForbiddenError
from pipeline.configuration.reading import configured, read_params, read_yaml
from pipeline.record.fingerprint import fingerprint
from pipeline.record.identity import deciding_code, versions
from pipeline.record.record import LAYOUT
from pipeline.storage import atomic, lock, project
from pipeline.storage.sealed import as_json
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

MOST_SHOWN = 3

EXPERIMENT = "DVC_EXP_NAME"
"""Set by DVC where `dvc exp run` runs the stage: it has composed params.yaml just now, of conf/ and what was typed."""


def main() -> int:
    command.arguments(__doc__, "check").parse_args()
    read_params(project.PARAMS)
    if notice := _notice():
        print(notice)
    print("params.yaml is a network that can exist")
    with lock.stage():
        for stage, deciding in _fingerprints().items():
            atomic.write_file(project.FINGERPRINTS / f"{stage}.json", as_json(deciding))
    return 0


def _notice() -> str | None:
    """One line where conf/ and params.yaml differ; params.yaml is what counts."""
    try:
        found = values(composed(project.CONF))
        configured(found)
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


def _fingerprints() -> dict[str, object]:
    """For each stage, the code that decides what it writes."""
    presentation = ("pipeline.terminal", "pipeline.tracking", "pipeline.composition")
    return {
        "preprocess": fingerprint(project.ROOT, "pipeline.preprocess", presentation),
        "train": {"code": deciding_code(), "versions": versions(), "layout": LAYOUT},
        "evaluate": fingerprint(project.ROOT, "pipeline.evaluate", presentation) | {"layout": LAYOUT},
    }


if __name__ == "__main__":
    command.run(main)
