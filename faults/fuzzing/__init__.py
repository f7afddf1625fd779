"""Coverage-guided fuzzing of what reads strangers' bytes: the raw files and the configuration.

target.py          what a target is: the property that must hold for any bytes, where to begin, how to change them
idx.py             the raw files: gzip and IDX
configuration.py   params.yaml, edits of a valid configuration, overrides
engine.py          the process that fuzzes one target (atheris, in an environment of its own), without end
sessions.py        what came of it, kept in faults/results/
__main__.py        starts the engine, measures its time, stops it
"""
