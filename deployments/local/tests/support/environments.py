"""Environments of clients that others wrote: Python or Node.js with one package.

Several clients are the package `azure.batch`, so one environment cannot have them all.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from local_azure.locks import excluding
from local_azure.nodejs import find_nodejs

PREVIOUS_CLIENT = "azure-batch==14.2.0"
CACHE = user_cache_path("batch-convert", appauthor=False)  # as Azurite
INSTALL_SECONDS = 1200
NPM_INSTALL = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
UNREACHABLE = re.compile("from versions: none|Connection|ENOTFOUND|ECONN|ETIMEDOUT", re.IGNORECASE)

Make = Callable[[Path, str], None]


def kept(folder: Path, make: Make, requirement: str) -> Path:
    """Return an environment in the cache folder, which is made at its first use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with excluding(folder.parent / "lock"):
        if not folder.exists():
            # Made in a temporary folder and renamed, so that `folder` is always complete.
            with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
                make(Path(draft, "made"), requirement)
                Path(draft, "made").rename(folder)
    return folder


def python_with(requirement: str) -> Path:
    """Return a Python with a package, from the cache folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / requirement.replace("==", "-") / version
    return kept(folder, make_python, requirement) / "bin" / "python"


def nodejs_with(requirement: str) -> Path:
    """Return a folder with packages of Node.js, from the cache folder."""
    folder = CACHE / "clients" / re.sub(r"[^\w.]+", "-", requirement)
    return kept(folder, make_nodejs, requirement)


def make_python(folder: Path, requirement: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install([folder / "bin" / "python", "-m", "pip", "install", "--quiet", requirement], folder)


def make_nodejs(folder: Path, requirement: str) -> None:
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True}))
    npm = find_nodejs().npm
    install([*npm, *NPM_INSTALL, *requirement.split()], folder)


def install(command: Sequence[str | Path], folder: Path) -> None:
    """Run an installation in a folder. Skip the test if there is no package index, except in CI.

    With `--prefix`, npm would not read the settings of the machine.
    """
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if ended.returncode and UNREACHABLE.search(ended.stderr) and not os.environ.get("CI"):
        pytest.skip(f"{command[-1]} cannot be downloaded: {ended.stderr[-300:]}")
    assert ended.returncode == 0, ended.stderr
