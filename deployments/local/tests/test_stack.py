"""Stacks of commands, which here are programs that use a stack until their stdin closes."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from processes import Program, all_end, processes_of

COMMAND = """
import json, sys
from pathlib import Path
from local_azure.stack import running_stack

with running_stack(Path(sys.argv[1])) as stack:
    print(json.dumps(stack.wait()))
    print("using", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start_command(start: Callable[..., Program], data: Path) -> Callable[[], Program]:
    return lambda: start("-c", COMMAND, data)


def settings_of(command: Program) -> dict[str, str]:
    settings: dict[str, str] = json.loads(command.wait_until("using")[-1])
    return settings


def test_a_command_starts_a_stack_and_ends_it(
    start_command: Callable[[], Program],
    data: Path,
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    command = start_command()
    settings = settings_of(command)
    container(settings).upload_blob("clip", b"its content")
    assert command.end() == (0, "", "")
    assert all_end(data)

    command = start_command()
    assert container(settings_of(command)).download_blob("clip").readall() == b"its content"
    assert command.end() == (0, "", "")


def test_a_running_stack_is_used_and_left_running(
    start_stack: Callable[..., Program],
    start_command: Callable[[], Program],
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    start_stack().wait_until("ready")
    command = start_command()
    settings = settings_of(command)
    assert command.end() == (0, "", "")
    assert list(container(settings).list_blobs()) == []


def test_a_running_stack_with_tls_is_found(
    start_stack: Callable[..., Program], start_command: Callable[[], Program]
) -> None:
    start_stack("--tls").wait_until("ready")
    command = start_command()
    settings = settings_of(command)
    assert settings["AZURE_BATCH_ENDPOINT"].startswith("https://")
    assert Path(settings["SSL_CERT_FILE"]).is_file()
    assert command.end() == (0, "", "")


def test_a_running_stack_without_storage_is_refused(
    start_stack: Callable[..., Program], start_command: Callable[[], Program], data: Path
) -> None:
    start_stack("--no-storage").wait_until("ready")
    status, _, stderr = start_command().end()
    assert status == 1
    assert f"The stack on {data} runs without storage. Stop it, and start it" in stderr


def test_two_commands_share_a_stack_which_stays_until_the_second_ends(
    start_command: Callable[[], Program],
    data: Path,
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    both = [start_command(), start_command()]
    settings = [settings_of(command) for command in both]
    assert settings[0] == settings[1]
    assert len(processes_of(data / "azurite")) == 2  # the guard and Azurite

    for command in both:
        assert list(container(settings[0]).list_blobs()) == []
        assert command.end() == (0, "", "")
    assert all_end(data)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stack_whose_command_is_killed_ends_with_all_its_processes(
    number: signal.Signals,
    start_command: Callable[[], Program],
    data: Path,
) -> None:
    command = start_command()
    settings_of(command)
    command.send(number)
    assert command.end()[0] != 0
    assert all_end(data)
    assert not (data / "stack.env").exists()


def test_a_command_that_is_killed_while_its_stack_starts_leaves_nothing(
    start_command: Callable[[], Program],
    data: Path,
) -> None:
    command = start_command()
    while not processes_of(data / "azurite"):
        assert command.process.poll() is None
    command.send(signal.SIGKILL)
    assert all_end(data)


def test_settings_of_a_killed_stack_are_not_used(
    start_stack: Callable[..., Program],
    start_command: Callable[[], Program],
    data: Path,
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    program = start_stack()
    program.wait_until("ready")
    program.send(signal.SIGKILL)
    assert all_end(data)
    assert (data / "stack.env").exists()
    assert list(container(settings_of(start_command())).list_blobs()) == []


def test_the_error_of_a_stack_that_does_not_start_has_the_reason(
    start_command: Callable[[], Program], data: Path
) -> None:
    data.mkdir()
    (data / "azurite").touch()
    status, _, stderr = start_command().end()
    assert status == 1
    assert "StackError: The local Azure did not start: " in stderr
    assert f"File exists: '{data}/azurite'" in stderr
