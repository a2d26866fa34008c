"""Finds what the command needs beside its own code, both in a checkout and when it is installed from a wheel."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from autolabel_cli.errors import CommandError

_PACKAGE = Path(__file__).resolve().parent
# Of an installed package this is a folder of its environment, which has none of the checkout's files.
_CHECKOUT = _PACKAGE.parents[1]


def endpoint_template() -> Path:
    """Return the path of endpoint.yaml, the template of a model's stack.

    A wheel carries it in the package; a checkout has it in models/.
    """
    carried = _PACKAGE / "models" / "endpoint.yaml"
    return carried if carried.is_file() else _CHECKOUT / "models" / "endpoint.yaml"


def models_folder() -> Path:
    """Return the path of the checkout's folder of models, with documents and servers. An installed command has none."""
    return _CHECKOUT / "models"


def checkout() -> Path:
    """Return the path of the checkout. Of an installed command it is a folder that has none of the checkout's files."""
    return _CHECKOUT


class Library(NamedTuple):
    """A library that runs in a process of its own, because its requirements may differ from the command's.

    `name`: its distribution, which autolabel's `extra` installs. `environment`: the checkout's environment for it,
    which `make <target>` sets up. `setting`: the environment variable that names another Python to take.
    """

    name: str
    extra: str
    environment: str
    target: str
    setting: str

    def python(self) -> list[str]:
        """Return the start of a command that runs a script with this library.

        Taken in this order: the Python that `setting` names, this environment, the checkout's. CommandError when none
        of them has the library.
        """
        if named := os.environ.get(self.setting):
            if not Path(named).exists():
                raise CommandError(f"{self.setting} names {named}, which does not exist: {self._how_to_install()}")
            return [named, "-I"]
        if self._is_beside_the_command():
            # -P keeps the script's own folder off the path, so that no module there is taken for a library.
            return [sys.executable, "-P"]
        python = _CHECKOUT / self.environment / "bin" / "python"
        if python.exists():
            return [str(python), "-I"]
        raise CommandError(f"this command needs {self.name}, which is not installed: {self._how_to_install()}")

    def _is_beside_the_command(self) -> bool:
        try:
            version(self.name)
        except PackageNotFoundError:
            return False
        return True

    def _how_to_install(self) -> str:
        return (
            f"install autolabel with its extra {self.extra} (pip install '<checkout>[{self.extra}]'), "
            f"or run `make {self.target}` in a checkout"
        )


TRACKERS = Library("trackers", "tracks", ".venv-tracks", "setup-tracks", "AUTOLABEL_TRACKERS")
DATUMARO = Library("datumaro", "export", ".venv-export", "setup-export", "AUTOLABEL_DATUMARO")
SAGEMAKER = Library("sagemaker-core", "sagemaker", ".venv-sagemaker", "setup-sagemaker", "AUTOLABEL_SAGEMAKER")
