"""Where the data files that come with the project are: in a source checkout or an installed wheel.

Not about what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

DataDirectory = Literal["device_profiles", "samples", "tests/web"]


def data_directory(name: DataDirectory) -> Path:
    """The directory `name` of this installation.

    A wheel carries it under `exporter/_data`; a checkout has it beside `pyproject.toml`.
    Raises FileNotFoundError when neither is there: the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    return _find(name, package)


def _find(name: str, package: Path) -> Path:
    installed = package / "_data" / name
    if installed.is_dir():
        return installed
    checkout = package.parent
    # Beside an installed package, site-packages/samples would be somebody else's.
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise FileNotFoundError(f"{installed}: no such directory; the installation is damaged, install again")
