"""Files out of a Debian package, which is downloaded and unpacked but never installed: it needs no root."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.data.download import Folder, Offer, Patience, UnavailableError, UnreachableError


@dataclass(frozen=True)
class Debian:
    """A package that holds `<name>.gz` somewhere. `scratch` is an empty folder for what is downloaded."""

    package: str
    patience: Patience
    scratch: Path

    @property
    def title(self) -> str:
        return f"Debian package {self.package}"

    def offer(self, name: str) -> Offer:
        """`<name>.gz`; the first call downloads the package. Raises UnavailableError."""
        for path in sorted(self._contents.rglob(f"{name}.gz")):
            offer = Folder(path.parent).offer(name)
            return Offer(f"{self.title}, {path.relative_to(self._contents)}", offer.gzipped, offer.pieces)
        raise UnavailableError(f"holds no {name}.gz")

    @cached_property
    def _contents(self) -> Path:
        """The folder into which the package is unpacked."""
        try:
            self._run("apt-get", "download", self.package)
        except UnreachableError:
            # The system's package lists may be missing or old, and only root may renew them.
            lists = self.scratch / "lists"
            (lists / "partial").mkdir(parents=True)
            own_lists = ("-o", f"Dir::State::Lists={lists}")
            self._run("apt-get", "update", *own_lists)
            self._run("apt-get", "download", self.package, *own_lists)
        packages = [path.name for path in self.scratch.glob("*.deb")]
        if len(packages) != 1:
            raise UnreachableError(f"gave {len(packages)} .deb files, not one")
        self._run("dpkg-deb", "-x", packages[0], "contents")
        return self.scratch / "contents"

    def _run(self, *command: str) -> None:
        """A command in the scratch folder. Raises UnreachableError with the last line that it said."""
        said = self.scratch / "said.txt"
        environment = os.environ | {"LC_ALL": "C"}
        try:
            # Into a file: the end of a pipe would have to be waited for while a grandchild holds it.
            with said.open("wb") as output:
                subprocess.run(
                    self._patient(command),
                    cwd=self.scratch,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=self.patience.command,
                    check=True,
                )
        except FileNotFoundError:
            raise UnreachableError(f"there is no {command[0]} on this machine") from None
        except PermissionError:
            raise UnreachableError(f"{command[0]} may not be run") from None
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"{command[0]} took more than {self.patience.command:g} s") from None
        except subprocess.CalledProcessError:
            raise UnreachableError(f"{' '.join(command[:2])} failed: {_complaint(said)}") from None

    def _patient(self, command: Sequence[str]) -> list[str]:
        if command[0] != "apt-get":
            return list(command)
        seconds = max(1, round(self.patience.read))
        limits = (f"Acquire::{kind}::Timeout={seconds}" for kind in ("http", "https", "ftp"))
        options = [word for limit in (*limits, "Acquire::Retries=0") for word in ("-o", limit)]
        return [command[0], "-q", *options, *command[1:]]


def _complaint(said: Path) -> str:
    """The last error that a command told, or else its last line."""
    lines = [line.strip() for line in said.read_text(errors="replace", encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or ["it said nothing"])[-1]
