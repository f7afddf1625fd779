"""One run from its configuration to its record: the path of `dvc repro` and of every job of a sweep."""
