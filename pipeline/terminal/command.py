"""How every verb starts and ends."""

import argparse
import contextlib
import errno
import io
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

from pipeline.terminal.errors import NO_MEMORY, UserError, lacks_memory

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

ESCAPED = "backslashreplace"


def arguments(description: str | None, verb: str) -> argparse.ArgumentParser:
    """A parser that shows the verb as a person types it."""
    return argparse.ArgumentParser(
        prog=f"python -m pipeline.{verb}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(main: Callable[[], int]) -> NoReturn:
    """Call `main` and leave with its exit status; what a person can put right is told in a sentence.

    SIGTERM unwinds like an exception, so that `finally` blocks and locks end properly.
    """
    _open_what_is_closed()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(TERMINATED))
    _write_any_text()
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        status = _tell(str(error))
    except KeyboardInterrupt:
        status = _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`| head`): nobody is left to be told.
        status = 1
    except Exception as error:
        if lacks_memory(error):
            _leave_without_memory()
        if not isinstance(error, OSError) or error.errno is None:
            raise
        # What is written to a file names it.
        unnamed = error.filename is None and error.errno == errno.ENOSPC
        where = "standard output" if _gave_up(sys.stdout) or unnamed else error.filename
        status = _tell(f"{where}: {error.strerror}" if where is not None else str(error.strerror))
    for stream in (sys.stdout, sys.stderr):
        _gave_up(stream)
    sys.exit(status)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Take Ctrl-C and SIGTERM only after the block: an impatient second one must not cut short what the first began."""
    came: list[int] = []

    def later(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, later) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def check_free(host: str, port: int, other: str) -> None:
    """Raises UserError for a port that can't be used; `other` is what to type for another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port}: can't be used ({error}). Name another: {other}") from None


def printable(text: str) -> str:
    """A text whose control characters are escaped, but for the ends of lines: a key or a path may hold any."""
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )


def _open_what_is_closed() -> None:
    """Let a standard stream that was closed before we began (`>&-`) be as if to /dev/null.

    Python has None for it, and the next file that is opened would get its number: the lowest that is free.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _write_any_text() -> None:
    """What a stream's encoding can't hold is escaped (`×` as `\\xd7` in ASCII), here and in processes begun here."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:{ESCAPED}"


def _tell(message: str, status: int = 1) -> int:
    # Standard error may be full too: the status says it.
    with contextlib.suppress(OSError):
        print(f"error: {printable(message)}", file=sys.stderr)
    return status


def _leave_without_memory() -> NoReturn:
    """Say so and end at once: what Python calls at its end needs memory too, and each says that it lacks it."""
    status = _tell(NO_MEMORY)
    for stream in (sys.stdout, sys.stderr):
        _gave_up(stream)
    os._exit(status)


def _gave_up(stream: TextIO) -> bool:
    """Whether the stream takes no more; Python then does not try again when it leaves."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False
