"""The article's network and settings: this project beside the plain script, and beside PyTorch."""

from collections.abc import Callable

from benchmarks.costs import alternately, as_figures, median, ratio_in_words
from benchmarks.rows import Finding, Row
from benchmarks.workshop import Workshop, afresh, has, verb
from pipeline.run.environment import lacks_bfloat16
from tests.harness.spent import Cost

EPOCHS, QUICK_EPOCHS = 2, 1
OURS, SCRIPT = "this project", "the article's Keras script"
OF_THE_SCRIPT, MOST_MIB = 0.6, 1024


def measure(workshop: Workshop) -> Finding:
    epochs = str(QUICK_EPOCHS if workshop.quick else EPOCHS)
    project = workshop.project("article", f"training.epochs={epochs}")

    def ours() -> Cost:
        afresh(project)
        return verb(project, "train")

    contenders: dict[str, Callable[[], Cost]] = {
        SCRIPT: lambda: workshop.script("keras", "--epochs", epochs),
        OURS: ours,
    }
    if has("torch"):
        best = ("--channels-last",) if lacks_bfloat16() else ("--channels-last", "--bfloat16")
        contenders["PyTorch, float32"] = lambda: workshop.script("torch", "--epochs", epochs)
        contenders[f"PyTorch, {' '.join(best).replace('--', '')}"] = lambda: workshop.script(
            "torch", "--epochs", epochs, *best
        )
    costs = alternately(contenders, workshop.rounds)
    ratio = median(costs[OURS]) / median(costs[SCRIPT])
    others = [f"{name}: {ratio_in_words(costs, OURS, name)}" for name in costs if name.startswith("PyTorch")]
    memory = (
        f"peak memory {median(costs[OURS], 'peak_mib'):.0f} MiB, the script's {median(costs[SCRIPT], 'peak_mib'):.0f}"
    )
    said = "; ".join([ratio_in_words(costs, OURS, SCRIPT), *others, memory])
    met = ratio <= OF_THE_SCRIPT and median(costs[OURS], "peak_mib") <= MOST_MIB
    return Finding(said, met, {"epochs": int(epochs), "costs": as_figures(costs)}, _bars(costs))


def _bars(costs: dict[str, list[Cost]]) -> dict[str, float]:
    return {name: median(found) for name, found in costs.items()}


ROW = Row(
    name="article",
    what="`train` with tracking, checkpoints and progress, beside the plain script of the same settings (batches of "
    "32, float32), start and imports included",
    goal="at most 0.6 of the time; at most 1.0 GiB",
    measure=measure,
)
