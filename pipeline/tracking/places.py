"""Where a store keeps artifacts. It says so itself, for each run: it could name a folder that is none of its own."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCAL = "", "file"
SERVED = "http", "https", "mlflow-artifacts"


def problem_with(location: str, *, folder: Path | None, server: str) -> str | None:
    """Why artifacts must neither be written to nor read from `location`; None where they may.

    `folder` is that of the store's database, None where the store is a server: then `server` is its host and port.
    """
    parts = urlsplit(location)
    if folder is not None:
        place = Path(unquote(parts.path))
        if parts.scheme in LOCAL and not parts.netloc and place.resolve().is_relative_to(folder.resolve()):
            return None
        moved = "A project that was moved makes a new one: remove it, then `python -m pipeline.track`"
        return f"it keeps artifacts in {location}, outside of {folder}, the folder of its database. {moved}"
    if parts.scheme in LOCAL:
        return f"it keeps artifacts in {location}, a folder of this machine; start it with --serve-artifacts"
    # What is served by another host would be asked for with this one's password.
    if parts.scheme in SERVED and parts.netloc.rpartition("@")[2] not in ("", server):
        return f"it keeps artifacts at {location}, another server"
    return None
