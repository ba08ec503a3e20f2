"""The previous client, azure-batch 14.2, in an environment of its own."""

import subprocess
from pathlib import Path

from lab import NewLab
from local_azure.batch.routes import OPERATIONS

PROGRAM = Path(__file__).with_name("old_client.py")


def test_the_old_client_drives_every_operation(old_python: Path, new_lab: NewLab) -> None:
    lab = new_lab()
    ended = subprocess.run(
        [old_python, "-I", PROGRAM],
        env=lab.settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert lab.called == {(method, path) for method, path, _ in OPERATIONS}
