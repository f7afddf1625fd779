"""How the settings of a sweep stand while it runs: mean and interval of each, the best first, and who is out."""

from collections.abc import Iterator

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress
from rich.table import Table

from pipeline.statistics.scores import means, summaries
from pipeline.studies.race import scores
from pipeline.studies.study import Study
from pipeline.studies.study_summary import rows

ROOM = 8
"""Lines of a terminal that stay free of the table."""

FEWEST = 3
"""Settings in a table that says anything."""


class LiveStandings(Progress):
    """A live bar with the settings of a study below it."""

    table: Table | None = None

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.table is not None:
            yield self.table

    def show(self, study: Study) -> None:
        """Show how the study stands now, where somebody watches."""
        if not self.disable:
            self.table = standings(study, self.console.height - ROOM)


def standings(study: Study, most: int) -> Table | None:
    """The settings that have a score, the best first, `most` of them; None where there is nothing to compare.

    Means and 95 % intervals in percent, of each setting by itself: a verdict takes the differences.
    """
    points = scores(study).points
    scored = np.flatnonzero(~np.isnan(points).all(axis=1)) if points.size else np.array([], dtype=np.int_)
    if len(scored) < 2 or most < FEWEST:
        return None
    settings, known = rows(study), summaries(points)
    table = Table("setting", "seeds", "accuracy", "95 % interval", "", box=None, pad_edge=False)
    best_first = scored[np.argsort(-means(points)[scored], kind="stable")]
    for place in best_first[:most].tolist():
        row, summary = settings[place], known[place]
        interval = summary.interval
        # Of two seeds it often reaches beyond what an accuracy can be.
        between = "" if interval is None else f"{max(interval.low, 0):.2f} to {min(interval.high, 100):.2f}"
        said = ", ".join(filter(None, (row.verdict, row.lost)))
        table.add_row(
            row.title, str(summary.seeds), f"{summary.mean:.2f} %", between, said, style="dim" if row.verdict else ""
        )
    if len(best_first) > most:
        table.add_row(f"and {len(best_first) - most} more")
    return table
