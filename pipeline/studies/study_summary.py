"""A study at a glance: what its settings differ in, and how each has scored."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from pipeline.run.metrics import predictions
from pipeline.studies.study import Cell, Setting, Study

NOT_SET = "not set"
"""In place of the value of a key that a setting does not have, which is neither null nor `none`."""

ONE_CLASS = 0.95
"""Share of the images from which on a run that gives them all one class counts as collapsed."""

LOST = "collapsed", "diverged", "failed"
"""The outcomes that count in no mean."""


@dataclass(frozen=True)
class Row:
    """A setting's runs: how many have ended in which way, mean and standard deviation of the accuracy.

    `finished` are those that count: runs that collapsed or diverged say nothing of what their setting can do, and
    stand in no mean. `mean` is None without one, `deviation` (of the sample, in 0..1 like the mean) with fewer than two.
    """

    setting: str
    label: dict[str, JsonValue]
    finished: int
    collapsed: int
    diverged: int
    failed: int
    mean: float | None
    deviation: float | None
    seconds: float | None
    parameters: int
    multiply_adds: int

    @property
    def lost(self) -> str:
        """`1 collapsed, 2 failed`: the runs that stand in no mean."""
        counts = {"collapsed": self.collapsed, "diverged": self.diverged, "failed": self.failed}
        return lost_in_words(counts)


def has_collapsed(scored: Path, accuracy: float | None) -> bool:
    """Whether the probabilities [images, classes] in the folder `scored` name one class for at least ONE_CLASS of them.

    That is what is left of a network that collapsed: the same answer whatever it sees, and an accuracy near that
    class's share. One that is right so often (all images are of one class) has not. False without probabilities.
    """
    try:
        named = predictions(np.load(scored / "probabilities.npy", allow_pickle=False))
    except (OSError, ValueError):
        return False
    most = np.unique(named, return_counts=True)[1].max(initial=0)
    return accuracy is not None and bool(most >= ONE_CLASS * len(named) > accuracy * len(named))


def outcome(cell: Cell) -> str:
    """Its state; of a run that ended as it should, but names one class whatever it sees: `collapsed`."""
    return "collapsed" if cell.collapsed and cell.state == "finished" else cell.state


def count_outcomes(cells: Iterable[Cell]) -> Counter[str]:
    """How many runs have ended in which way: finished (and learned something), collapsed, diverged, failed, waiting."""
    return Counter(map(outcome, cells))


def lost_in_words(counts: Mapping[str, int]) -> str:
    """`1 collapsed, 2 failed`; nothing where no run was lost."""
    return ", ".join(f"{counts[word]} {word}" for word in LOST if counts.get(word))


def distinctions(study: Study) -> dict[str, dict[str, JsonValue]]:
    """What tells each setting from the others, by dotted key; a key that it does not have is left out.

    A variant stands for all that it sets: `{"model": "deep"}`, with the keys beside it that were changed by themselves.
    """
    settings = list(study.settings.values())
    groups = _differing_groups(settings)
    keys = [
        key for key in differing([setting.values for setting in settings]) if not _is_explained(key, groups, settings)
    ]
    return {
        name: {**{group: setting.variants[group] for group in groups}, **_at(setting.values, keys)}
        for name, setting in study.settings.items()
    }


def swept(study: Study) -> list[str]:
    """The keys and groups in which the study's settings differ."""
    return list(dict.fromkeys(key for values in distinctions(study).values() for key in values))


def labels(study: Study) -> dict[str, dict[str, JsonValue]]:
    """What distinguishes each setting from the others, by short key; a key that it does not have is left out."""
    names = short_names(swept(study))
    nothing: dict[str, JsonValue] = dict.fromkeys(list(names.values())[:1], NOT_SET)
    return {
        setting: {short: values[key] for key, short in names.items() if key in values} or nothing
        for setting, values in distinctions(study).items()
    }


def columns(study: Study) -> list[str]:
    """The short keys of all labels, in their order."""
    return list(short_names(swept(study)).values())


def rows(study: Study) -> list[Row]:
    """One row a setting, in the order in which they were declared."""
    by_setting: dict[str, list[Cell]] = {name: [] for name in study.settings}
    for cell in study.cells:
        by_setting[cell.setting].append(cell)
    label = labels(study)
    return [_row(study, name, label[name], cells) for name, cells in by_setting.items()]


def best(study: Study) -> Row | None:
    """The setting with the highest mean; None before a run has finished."""
    scored = [row for row in rows(study) if row.mean is not None]
    return max(scored, key=lambda row: row.mean or 0.0, default=None)


def in_words(label: Mapping[str, JsonValue]) -> str:
    """A label for people: `kernel_size 3, filters 16`."""
    return ", ".join(f"{key} {shown(value)}" for key, value in label.items()) or "the one setting"


def score_in_words(row: Row) -> str:
    """Mean ± standard deviation and the number of runs: `91.20 ± 0.15 % (3)`."""
    if row.mean is None:
        return "–"
    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return f"{100 * row.mean:.2f}{spread} % ({row.finished})"


def shown_at(values: Mapping[str, JsonValue], key: str, missing: str = NOT_SET) -> str:
    """The value of a key as a person would type it; `missing` where there is none."""
    return shown(values[key]) if key in values else missing


def shown(value: JsonValue) -> str:
    """A value as a person would type it."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def counted(count: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def differing(settings: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    """The keys whose values are not the same in all `settings`, or that some lack, in their order."""
    every = list(dict.fromkeys(key for values in settings for key in values))
    return [key for key in every if len({_as_json(values, key) for values in settings}) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key → its last parts, as many as tell it from the others."""
    found: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            found[key] = ".".join(parts[-count:])
            if sum(f".{other}".endswith(f".{found[key]}") for other in keys) == 1:
                break
    return found


def _at(values: Mapping[str, JsonValue], keys: Sequence[str]) -> dict[str, JsonValue]:
    return {key: values[key] for key in keys if key in values}


def _as_json(values: Mapping[str, JsonValue], key: str) -> str:
    return json.dumps(values[key]) if key in values else ""


def _differing_groups(settings: Sequence[Setting]) -> list[str]:
    """The groups in whose variants the settings differ, where each setting says which it has."""
    every = dict.fromkeys(group for setting in settings for group in setting.variants)
    return [
        group
        for group in every
        if all(group in setting.variants for setting in settings)
        and len({setting.variants[group] for setting in settings}) > 1
    ]


def _is_explained(key: str, groups: Sequence[str], settings: Sequence[Setting]) -> bool:
    """Whether a key has its values by the variants alone: nobody changed it, and it is the same with the same variants.

    A group that is no section of the configuration may set any key.
    """
    section = key.partition(".")[0]
    sections = {name.partition(".")[0] for setting in settings for name in setting.values}
    own = [group for group in groups if group == section or group not in sections]
    changed = {name for setting in settings for name in setting.changed}
    if not own or any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in changed):
        return False
    by_variants: dict[tuple[str, ...], set[str]] = {}
    for one in settings:
        by_variants.setdefault(tuple(one.variants[group] for group in own), set()).add(_as_json(one.values, key))
    return all(len(values) == 1 for values in by_variants.values())


def _row(study: Study, name: str, label: dict[str, JsonValue], cells: Sequence[Cell]) -> Row:
    counts = count_outcomes(cells)
    accuracies = [cell.accuracy for cell in cells if outcome(cell) == "finished" and cell.accuracy is not None]
    seconds = [cell.seconds for cell in cells if outcome(cell) == "finished" and cell.seconds is not None]
    return Row(
        setting=name,
        label=label,
        finished=len(accuracies),
        collapsed=counts["collapsed"],
        diverged=counts["diverged"],
        failed=counts["failed"],
        mean=statistics.fmean(accuracies) if accuracies else None,
        deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        seconds=statistics.fmean(seconds) if seconds else None,
        parameters=study.settings[name].parameters,
        multiply_adds=study.settings[name].multiply_adds,
    )
