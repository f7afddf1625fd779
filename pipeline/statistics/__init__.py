"""What the scores of several settings and seeds support: intervals, verdicts, effects, choices. Reads no file."""
