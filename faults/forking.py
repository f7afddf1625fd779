"""A process of a project that has imported what takes long, and forks for each command: run in the project's folder.

Reads `{"verb": [...], "variables": {...}, "input": file, "output": file}` line by line; answers each with its status.
"""

import gc
import importlib
import json
import os
import runpy
import sys
import traceback
from typing import NoReturn


def main() -> None:
    sys.path[0] = os.getcwd()  # noqa: PTH109 - as `python -m` has it
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked["verb"], asked["variables"], asked["input"], asked["output"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(verb: list[str], variables: dict[str, str], source: str, output: str) -> NoReturn:
    os.setsid()
    os.dup2(os.open(source, os.O_RDONLY), 0)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.environ.update(variables)
    sys.argv = verb
    status = 0
    try:
        runpy.run_module(f"pipeline.{verb[0]}", run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking all that was imported apart takes two seconds.
    os._exit(status)


if __name__ == "__main__":
    main()
