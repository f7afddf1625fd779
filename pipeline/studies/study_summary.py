"""A study at a glance: what its settings differ in, and how each has scored."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from pipeline.config.messages import counted
from pipeline.studies.race import verdicts
from pipeline.studies.study import Setting, Study, StudyRun

NOT_SET = "not set"
"""In place of the value of a key that a setting does not have, which is neither null nor `none`."""

KERNEL_SIZE, FILTERS = "model.conv.kernel_size", "model.conv.filters"

ACCURACY, COSTS, NOTE = "accuracy (runs)", ("parameters", "multiply-adds", "seconds"), "note"
"""Columns of the table of a study."""

LOST = "collapsed", "diverged", "failed"
"""How runs end that stand in no mean."""


@dataclass(frozen=True)
class Row:
    """A setting's runs: how many have ended in which way, mean and standard deviation of the accuracy.

    `finished` are those that count: runs that collapsed or diverged say nothing of what their setting can do, nor do
    those of a race after its verdict, and stand in no mean. `mean` is None without one, `deviation` (of the sample, in
    0..1 as the mean) with fewer than two. `verdict` is how its race ended, in words.
    """

    setting: str
    title: str
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
    verdict: str = ""

    @property
    def lost(self) -> str:
        """The runs that stand in no mean, in words; nothing where there are none."""
        return lost_in_words(vars(self))


def count_outcomes(runs: Iterable[StudyRun]) -> Counter[str]:
    """How many runs have ended in which way: finished (and learned something), collapsed, diverged, failed, waiting."""
    return Counter(run.outcome for run in runs)


def lost_in_words(counts: Mapping[str, int]) -> str:
    """`1 collapsed, 2 failed`; nothing where no run was lost."""
    return ", ".join(f"{counts[word]} {word}" for word in LOST if counts.get(word))


def distinctions(study: Study) -> dict[str, dict[str, JsonValue]]:
    """What tells each setting from the others, by dotted key; a key that it does not have is left out.

    A variant stands for all that it sets: `{"model": "deep"}`, with the keys beside it that were changed by themselves.
    """
    settings = list(study.settings.values())
    groups = differing([setting.variants for setting in settings])
    # Only where each setting says which variant it has.
    groups = [group for group in groups if all(group in setting.variants for setting in settings)]
    keys = [key for key in differing([one.values for one in settings]) if not _is_explained(key, groups, settings)]
    return {
        name: {
            **{group: setting.variants[group] for group in groups},
            **{key: setting.values[key] for key in keys if key in setting.values},
        }
        for name, setting in study.settings.items()
    }


def swept(study: Study) -> list[str]:
    """The keys and groups in which the study's settings differ."""
    return list(dict.fromkeys(key for values in distinctions(study).values() for key in values))


def titles(study: Study) -> dict[str, str]:
    """What distinguishes each setting from the others, for people."""
    names = short_names(swept(study))
    return {setting: title(values, names) for setting, values in distinctions(study).items()}


def title(values: Mapping[str, JsonValue], names: Mapping[str, str]) -> str:
    """A setting for people, by those of the dotted keys in `names` that it has: `5 × 5 kernels, 64 filters, bias true`.

    `names` gives each key's short name, in the order in which they are said.
    """
    parts = [argument_in_words(key, short, values[key]) for key, short in names.items() if key in values]
    nothing = [f"{one_line(short)} {NOT_SET}" for short in names.values()][:1]
    return ", ".join(parts or nothing) or "the one setting"


def argument_in_words(key: str, short: str, value: JsonValue) -> str:
    """A key and its value as people say them: `5 × 5 kernels`, `64 filters`, else `dropout 0.2`."""
    if key == KERNEL_SIZE and isinstance(value, int | list):
        height, width = value if isinstance(value, list) and len(value) == 2 else (value, value)
        return one_line(f"{height} × {width} kernels")
    if key == FILTERS and isinstance(value, int):
        return counted(value, "filter")
    return one_line(f"{short} {as_typed(value)}")


def one_line(text: str) -> str:
    """The text without line breaks and other characters that are not for people."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def columns(study: Study) -> list[str]:
    """The short names of what the settings differ in."""
    return list(short_names(swept(study)).values())


def rows(study: Study) -> list[Row]:
    """One row a setting, in the order in which they were declared."""
    names, (over, counting) = short_names(swept(study)), verdicts(study)
    runs: dict[str, list[StudyRun]] = {name: [] for name in study.settings}
    for run in study.cells:
        runs[run.setting].append(run)
    made = []
    for name, values in distinctions(study).items():
        counts = count_outcomes(runs[name])
        learned = [run for run in runs[name] if run.identity in counting and run.outcome == "finished"]
        accuracies = [run.accuracy for run in learned if run.accuracy is not None]
        seconds = [run.seconds for run in learned if run.seconds is not None]
        row = Row(
            setting=name,
            title=title(values, names),
            label={short: values[key] for key, short in names.items() if key in values},
            finished=len(accuracies),
            **{word: counts[word] for word in LOST},
            mean=statistics.fmean(accuracies) if accuracies else None,
            deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            seconds=statistics.fmean(seconds) if seconds else None,
            parameters=study.settings[name].parameters,
            multiply_adds=study.settings[name].multiply_adds,
            verdict=over.get(name, ""),
        )
        made.append(row)
    return made


def best(study: Study) -> Row | None:
    """The setting with the highest mean; None before a run has finished."""
    return _highest(rows(study))


def _highest(settings: Iterable[Row]) -> Row | None:
    return max((row for row in settings if row.mean is not None), key=lambda row: row.mean or 0.0, default=None)


def table(study: Study) -> list[dict[str, str]]:
    """The settings for people, a line each in the order of `rows`, by the head of a column; a note stands last."""
    settings, names = rows(study), columns(study)
    highest = _highest(settings) if len(settings) > 1 else None
    return [
        {
            **({name: shown_at(row.label, name) for name in names} or {"setting": "the one"}),
            ACCURACY: score_in_words(row),
            "parameters": f"{row.parameters:,}",
            "multiply-adds": f"{row.multiply_adds:,}",
            "seconds": "" if row.seconds is None else f"{row.seconds:.1f}",
            NOTE: ", ".join(filter(None, ("highest mean" if row == highest else "", row.verdict, row.lost))),
        }
        for row in settings
    ]


def in_words(values: Mapping[str, JsonValue]) -> str:
    """Keys and values as MLflow is told of them: `model.conv.kernel_size 3, model article`."""
    return ", ".join(f"{key} {as_typed(value)}" for key, value in values.items()) or "the one setting"


def score_in_words(row: Row) -> str:
    """Mean ± standard deviation and the number of runs: `91.20 ± 0.15 % (3)`."""
    if row.mean is None:
        return "–"
    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return f"{100 * row.mean:.2f}{spread} % ({row.finished})"


def shown_at(values: Mapping[str, JsonValue], key: str, missing: str = NOT_SET) -> str:
    """The value of a key as a person would type it; `missing` where there is none."""
    return as_typed(values[key]) if key in values else missing


def as_typed(value: JsonValue) -> str:
    """A value as a person would type it."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The keys whose values are not the same in all `settings`, or that some lack, in their order."""
    every = list(dict.fromkeys(key for values in settings for key in values))
    return [key for key in every if len({_as_json(values, key) for values in settings}) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key → its last parts, as many as tell it from the others."""

    def short(key: str) -> str:
        parts = key.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts)))
        return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1), key)

    return {key: short(key) for key in keys}


def _as_json(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key]) if key in values else ""


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
