"""A study: its settings × seeds planned, run in parallel, and told."""
