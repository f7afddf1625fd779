"""Why a store could not be reached, for people. Needs no mlflow."""

import re

AWAY = "move it away; `python -m pipeline.track --all` fills another"

CLOCK = "takes no models of this date: set the clock of this machine (zip files know 1980 to 2107)"

LONGEST = 300

FOLDER = (
    "is a folder of files, which MLflow no longer opens: `mlflow migrate-filestore` makes a database of it; name that "
    "(sqlite:///…) or a server"
)

DRIVER = "is a database whose driver is not installed here: name the MLflow server in front of it (http://…)"

SAID = (
    ("filesystem tracking backend", FOLDER),
    ("No module named 'psycopg", DRIVER),
    ("No module named 'MySQLdb'", DRIVER),
    ("No module named 'pymysql'", DRIVER),
    ("timestamps before 1980", CLOCK),
    ("ushort format requires", CLOCK),
    ("Max retries exceeded", "does not answer"),
    ("timed out", "does not answer"),
    ("not in a valid JSON format", "answers, but not as an MLflow server does"),
    ("Response body: '<", "answers, but not as an MLflow server does"),
    ("file is not a database", f"is no database: {AWAY}"),
    ("file is encrypted or is not a database", f"is no database: {AWAY}"),
    ("disk image is malformed", f"is a damaged database: {AWAY}"),
    ("_alembic_tmp_", f"is a database that was left half made: {AWAY}"),
    ("out-of-date database schema", f"is a database of another version of MLflow: {AWAY}, or run `mlflow db upgrade`"),
    ("Can't locate revision", f"is a database of a later version of MLflow: {AWAY}"),
    ("disk is full", "lies on a disk that is full: make room"),
    ("disk I/O error", "lies on a disk that reports an error"),
    ("database is locked", "is locked by another program; end that program"),
    ("readonly database", "can't be written: look at the rights of the file and its folder"),
    ("unable to open database file", "can't be opened: look at the rights of the file and its folder"),
)
"""What of an exception's words means what."""


def reason(error: Exception) -> str:
    """One line, without the text of a page or a statement of SQL."""
    said = str(error).strip()
    if status := re.search(r"too many (\d+) error responses", said):
        return f"answers with errors (status {status[1]})"
    for words, meaning in SAID:
        if words in said:
            return meaning
    if isinstance(error, OSError) and error.filename is not None:
        return f"can't be used ({error.filename}: {error.strerror})"
    line = (said.splitlines() or [type(error).__name__])[0]
    # Not within a word, where there are several.
    return line if len(line) <= LONGEST else f"{line[:LONGEST].rpartition(' ')[0] or line[:LONGEST]} …"
