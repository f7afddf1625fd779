"""The pictures of a report, drawn on paper as those of a run are."""
