"""Files of settings: a stack writes and deletes its own, and changes no others."""

import socket
import stat
import subprocess
from pathlib import Path

import dotenv
import pytest

from local_azure import env_file
from local_azure.errors import StackUsageError

SETTINGS = {"AZURE_BATCH_ACCOUNT": "local", "AZURE_STORAGE_CONNECTION_STRING": "A=b;C=d/+==;"}


def test_local_azure_dotenv_and_a_shell_read_the_file_alike(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    env_file.write(path, SETTINGS)
    script = f". '{path}'; echo \"$AZURE_BATCH_ACCOUNT $AZURE_STORAGE_CONNECTION_STRING\""
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert env_file.read(path) == SETTINGS
    assert dotenv.dotenv_values(path) == SETTINGS
    assert result.stdout.decode().rstrip() == " ".join(SETTINGS.values())


def test_only_the_user_can_read_the_file(tmp_path: Path) -> None:
    env_file.write(tmp_path / ".env", SETTINGS)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


@pytest.mark.parametrize("content", [b"", b"MINE=1\n", b"\xff\xfe"])
def test_a_file_of_the_user_is_refused_and_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ".env"
    path.write_bytes(content)
    with pytest.raises(
        StackUsageError, match=r"\.env exists and was not written by the local stack"
    ):
        env_file.write(path, SETTINGS)
    env_file.remove(path, SETTINGS)
    assert path.read_bytes() == content


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackUsageError, match="Choose another file"):
        env_file.check(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackUsageError, match=f"the folder {tmp_path / 'gone'} does not exist"):
        env_file.check(tmp_path / "gone" / ".env")


def test_a_file_that_another_stack_has_written_since_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    env_file.write(path, SETTINGS)
    env_file.write(path, SETTINGS | {"AZURE_BATCH_ACCOUNT": "another"})
    env_file.remove(path, SETTINGS)
    assert path.exists()


def test_the_file_of_a_running_stack_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "local.env"
    with socket.create_server(("127.0.0.1", 0)) as running:
        endpoint = f"http://127.0.0.1:{running.getsockname()[1]}"
        env_file.write(path, {"AZURE_BATCH_ENDPOINT": endpoint})
        with pytest.raises(StackUsageError, match="another stack that is running"):
            env_file.check_unused(path)
    env_file.check_unused(path)
