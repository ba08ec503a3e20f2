"""The previous client, azure-batch 14.2, in an environment of its own.

Both clients are the package `azure.batch`, so one environment cannot have both.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from lab import NewLab
from local_azure.batch.routes import OPERATIONS
from local_azure.locks import excluding

REQUIREMENT = "azure-batch==14.2.0"
PROGRAM = Path(__file__).with_name("old_client.py")
NO_INDEX = re.compile("from versions: none|Connection", re.IGNORECASE)


@pytest.fixture(scope="session")
def old_python() -> Path:
    """Return a Python with the old client, made once in the user's cache folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = user_cache_path("batch-convert", appauthor=False) / "azure-batch-14.2.0" / version
    folder.parent.mkdir(parents=True, exist_ok=True)
    with excluding(folder.parent / "lock"):
        if not folder.exists():
            make_environment(folder)
    return folder / "bin" / "python"


def make_environment(folder: Path) -> None:
    """Make it in a temporary folder and rename it, so that `folder` is always complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        subprocess.run([sys.executable, "-m", "venv", f"{draft}/made"], check=True)
        python = f"{draft}/made/bin/python"
        pip = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", REQUIREMENT],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if pip.returncode and NO_INDEX.search(pip.stderr) and not os.environ.get("CI"):
            pytest.skip(f"pip finds no index with {REQUIREMENT}: {pip.stderr[-300:]}")
        assert pip.returncode == 0, pip.stderr
        Path(draft, "made").rename(folder)


def test_the_old_client_drives_every_operation(old_python: Path, new_lab: NewLab) -> None:
    lab = new_lab()
    settings = {
        "AZURE_BATCH_ENDPOINT": lab.url,
        "AZURE_BATCH_ACCOUNT": lab.account,
        "AZURE_BATCH_ACCESS_KEY": lab.key,
    }
    ended = subprocess.run(
        [old_python, "-I", PROGRAM],
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert lab.called == {(method, path) for method, path, _ in OPERATIONS}
