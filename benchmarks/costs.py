"""What a command costs, and how contenders are compared: in turn, several times, by medians."""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.harness.spent import Cost, spent


def cost(command: Sequence[str], folder: Path, **variables: str) -> Cost:
    """Run `command` in `folder`. Raises RuntimeError with what it printed when it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "PYTHON"))}
    found = spent(command, folder, inherited | variables)
    if found.status:
        raise RuntimeError(f"{' '.join(command)}: status {found.status}\n{found.said}")
    return found


def alternately(contenders: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Each contender's costs: all in turn, again and again, the order reversed each time."""
    found: dict[str, list[Cost]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in names:
            found[name].append(contenders[name]())
    return found


def median(costs: Sequence[Cost], figure: str = "seconds") -> float:
    return float(statistics.median(getattr(found, figure) for found in costs))


def as_figures(costs: Mapping[str, Sequence[Cost]]) -> dict[str, object]:
    """Medians and all single figures, for results.json."""
    kept = "seconds", "cpu_seconds", "peak_mib"
    return {
        name: {
            "median": {figure: round(median(found, figure), 3) for figure in kept},
            "all": [{figure: round(asdict(one)[figure], 3) for figure in kept} for one in found],
        }
        for name, found in costs.items()
    }


def ratio_in_words(costs: Mapping[str, Sequence[Cost]], one: str, other: str) -> str:
    """`0.62 (0.58 to 0.66) of the time, 0.55 of the CPU time`; in brackets the rounds' least and most."""
    pairs = [mine.seconds / its.seconds for mine, its in zip(costs[one], costs[other], strict=True)]
    cpu = median(costs[one], "cpu_seconds") / median(costs[other], "cpu_seconds")
    spread = f" ({min(pairs):.2f} to {max(pairs):.2f})" if len(pairs) > 1 else ""
    return f"{median(costs[one]) / median(costs[other]):.2f}{spread} of the time, {cpu:.2f} of the CPU time"
