"""Programs that work on LokiJS as Azurite does, in which it keeps what it knows of blobs."""

import json
import subprocess
from pathlib import Path
from typing import Any

from local_azure.azurite import installed
from local_azure.nodejs import find_nodejs


def written(folder: Path, program: str) -> Path:
    """The program, in a folder where it finds Azurite's packages."""
    packages = next(p for p in installed(find_nodejs()).parents if p.name == "node_modules")
    (folder / "node_modules").symlink_to(packages)
    path = folder / "work.js"
    path.write_text(program)
    return path


def run(*words: str | Path, cwd: Path | None = None) -> dict[str, Any]:
    """What it prints as JSON."""
    command = [find_nodejs().node, *words]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True, cwd=cwd).stdout
    )
    return told
