"""Programs that use LokiJS, Azurite's database, as Azurite does."""

import json
import subprocess
from pathlib import Path
from typing import Any

from local_azure.azurite import installed
from local_azure.nodejs import find_nodejs


def written(folder: Path, program: str) -> Path:
    """Write the program into a folder in which it finds Azurite's packages."""
    packages = next(p for p in installed(find_nodejs()).parents if p.name == "node_modules")
    (folder / "node_modules").symlink_to(packages)
    path = folder / "work.js"
    path.write_text(program)
    return path


def run(*words: str | Path, cwd: Path | None = None) -> dict[str, Any]:
    """Run a program, and return the JSON that it prints."""
    command = [find_nodejs().node, *words]
    printed: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True, cwd=cwd).stdout
    )
    return printed
