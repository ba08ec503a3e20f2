"""`local-azure` as users run it."""

import os
import shlex
import signal
import socket
import ssl
import stat
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient

from local_azure import env_file
from processes import Program, all_end, processes_of


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_without_leaving_processes_or_settings(
    number: signal.Signals,
    start_stack: Callable[..., Program],
    data: Path,
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    named = data.with_name("named.env")
    program = start_stack("--env-file", named)
    printed = "".join(program.wait_until("ready"))

    settings = env_file.read(named)
    assert env_file.read(data / "stack.env") == settings
    assert printed.endswith(env_file.text(settings))
    assert list(jobs(settings)) == []
    assert list(container(settings).list_blobs()) == []

    program.send(number)
    assert program.end() == (0, "", "")
    assert not named.exists()
    assert not (data / "stack.env").exists()
    assert all_end(data)
    assert_no_key_is_in_a_log(settings, data)


def test_with_tls_it_stops_too_and_keeps_its_certificate(
    start_stack: Callable[..., Program], data: Path
) -> None:
    kept = []
    for _ in range(2):
        program = start_stack("--tls")
        program.wait_until("ready")
        settings = env_file.read(data / "stack.env")
        trusted = ssl.create_default_context(cafile=settings["SSL_CERT_FILE"])
        # The client's connection is open when the stack stops.
        with httpx.Client(verify=trusted, timeout=60) as client:
            assert client.get(settings["AZURE_BATCH_ENDPOINT"]).status_code == 401
            program.send(signal.SIGTERM)
            assert program.end() == (0, "", "")
        assert all_end(data)
        kept.append((settings["AZURE_CLIENT_SECRET"], (data / "tls" / "chain.pem").read_bytes()))
    assert kept[0] == kept[1]
    logs = b"".join(path.read_bytes() for path in data.rglob("*.log"))
    assert kept[0][0].encode() not in logs


def batch_client(settings: dict[str, str]) -> BatchClient:
    name, key = settings["AZURE_BATCH_ACCOUNT"], settings["AZURE_BATCH_ACCESS_KEY"]
    return BatchClient(settings["AZURE_BATCH_ENDPOINT"], AzureNamedKeyCredential(name, key))


def jobs(settings: dict[str, str]) -> list[Any]:
    with batch_client(settings) as client:
        return list(client.list_jobs())


def assert_no_key_is_in_a_log(settings: dict[str, str], data: Path) -> None:
    keys = [path.read_bytes() for path in data.glob("*.key")]
    logs = list(data.rglob("*.log"))
    assert len(keys) == 2
    assert settings["AZURE_BATCH_ACCESS_KEY"].encode() in keys
    assert logs
    assert not any(key in log.read_bytes() for key in keys for log in logs)


def test_three_small_pools_at_once_get_their_nodes_by_default(
    start_stack: Callable[..., Program], data: Path
) -> None:
    start_stack().wait_until("ready")
    with batch_client(env_file.read(data / "stack.env")) as client:
        for number in range(3):
            client.create_pool(pool_of(f"pool{number}", nodes=1 + (number == 0)))
        while any(pool.allocation_state != "steady" for pool in client.list_pools()):
            pass
        pools = list(client.list_pools())
    assert [pool.current_dedicated_nodes for pool in pools] == [2, 1, 1]
    assert [pool.resize_errors for pool in pools] == [None] * 3


def test_a_blob_uploaded_just_before_the_stop_is_there_after_a_restart(
    start_stack: Callable[..., Program],
    data: Path,
    container: Callable[[dict[str, str]], ContainerClient],
) -> None:
    program = start_stack()
    program.wait_until("ready")
    before = env_file.read(data / "stack.env")
    container(before).upload_blob("clip", b"its content")
    program.send(signal.SIGTERM)
    assert program.end()[0] == 0

    program = start_stack()
    program.wait_until("ready")
    after = env_file.read(data / "stack.env")
    assert after["AZURE_BATCH_ACCESS_KEY"] == before["AZURE_BATCH_ACCESS_KEY"]
    assert container(after).download_blob("clip").readall() == b"its content"


def test_a_second_stack_on_a_data_folder_is_refused(
    start_stack: Callable[..., Program], data: Path
) -> None:
    start_stack().wait_until("ready")
    settings = (data / "stack.env").read_text()
    assert stat.S_IMODE((data / "stack.env").stat().st_mode) == 0o600
    status, _, stderr = start_stack().end()
    assert status == 2
    assert stderr.startswith(f"error: A stack already runs on {data}.")
    assert (data / "stack.env").read_text() == settings


def test_when_it_is_killed_azurite_ends_and_a_new_stack_can_start(
    start_stack: Callable[..., Program],
    data: Path,
    tmp_path: Path,
) -> None:
    program = start_stack("--env-file", tmp_path / ".env")
    program.wait_until("ready")
    assert len(processes_of(data)) == 3  # itself, Azurite's guard, Azurite
    program.send(signal.SIGKILL)
    assert all_end(data)

    left = env_file.read(tmp_path / ".env")
    start_stack("--env-file", tmp_path / ".env").wait_until("ready")
    assert env_file.read(tmp_path / ".env") != left


def test_when_it_is_killed_its_batch_tasks_end_and_the_next_start_deletes_its_nodes(
    start_stack: Callable[..., Program],
    data: Path,
    tmp_path: Path,
) -> None:
    watched = tmp_path / "watched"
    watched.touch()
    program = start_stack()
    program.wait_until("ready")
    run_forever(env_file.read(data / "stack.env"), f"tail -f {watched} & exec tail -f {watched}")
    while len(processes_of(watched)) < 2:
        assert program.process.poll() is None
    program.send(signal.SIGKILL)
    assert all_end(watched)
    assert list((data / "batch").iterdir())

    start_stack().wait_until("ready")
    assert list((data / "batch").iterdir()) == []


def pool_of(pool_id: str, *, nodes: int) -> models.BatchPoolCreateOptions:
    machine = models.VirtualMachineConfiguration(
        image_reference=models.BatchVmImageReference(
            publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
        ),
        node_agent_sku_id="batch.node.ubuntu 24.04",
    )
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="STANDARD_D2S_V3",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=nodes,
    )


def run_forever(settings: dict[str, str], script: str) -> None:
    info = models.BatchPoolInfo(pool_id="pool")
    command = shlex.join(["/bin/sh", "-c", script])
    with batch_client(settings) as client:
        client.create_pool(pool_of("pool", nodes=1))
        client.create_job(models.BatchJobCreateOptions(id="job", pool_info=info))
        client.create_task("job", models.BatchTaskCreateOptions(id="task", command_line=command))


def test_it_ends_with_an_error_when_azurite_is_killed(
    start_stack: Callable[..., Program], data: Path
) -> None:
    program = start_stack()
    program.wait_until("ready")
    os.kill(max(processes_of(data / "azurite")), signal.SIGKILL)
    status, _, stderr = program.end()
    assert status == 1
    assert stderr.startswith("error: Azurite ended. Start the stack again. Azurite's log: ")
    assert not (data / "stack.env").exists()


def test_an_env_file_that_it_did_not_write_is_not_changed(
    start_stack: Callable[..., Program], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MINE=1\n")
    status, printed, stderr = start_stack("--env-file", tmp_path / ".env").end()
    assert (status, printed) == (2, "")
    assert stderr == (
        f"error: {tmp_path}/.env exists and was not written by the local stack. "
        "Choose another file.\n"
    )
    assert (tmp_path / ".env").read_text() == "MINE=1\n"


@pytest.mark.parametrize("flag", ["--batch-port", "--blob-port"])
def test_a_requested_port_that_is_in_use_is_an_error(
    flag: str, start_stack: Callable[..., Program]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, stderr = start_stack(flag, str(port)).end()
    assert status == 2
    assert stderr == f"error: Port {port} is in use. Choose another port, or 0 for any free one.\n"


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--nodes", "0"], "0 is not a number of nodes"),
        (["--nodes", "two"], "two"),
        (["--blob-port", "65536"], "65536 is not a port"),
        (["--batch-port", "-1"], "-1 is not a port"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_is_named(
    flags: list[str], word: str, start_stack: Callable[..., Program]
) -> None:
    status, _, stderr = start_stack(*flags).end()
    assert status == 2
    assert word in stderr.splitlines()[-1]


def test_a_data_folder_that_cannot_be_created_is_named(start: Callable[..., Program]) -> None:
    status, _, stderr = start("-m", "local_azure", "--data", "/dev/null/data").end()
    assert status == 2
    assert stderr.startswith("error: The data folder /dev/null/data cannot be created")


def test_help_lists_every_flag(start: Callable[..., Program]) -> None:
    status, printed, _ = start("-m", "local_azure", "--help").end()
    assert status == 0
    flags = ("--env-file", "--batch-port", "--blob-port", "--data", "--nodes", "--tls")
    assert all(flag in printed for flag in (*flags, "--no-storage", "--version"))
    assert "LOCAL_AZURE_PAGE" in printed


def test_the_version_is_that_of_the_distribution(start: Callable[..., Program]) -> None:
    status, printed, _ = start("-m", "local_azure", "--version").end()
    assert (status, printed) == (0, f"local-azure {version('local-azure')}\n")


@pytest.mark.parametrize("flags", [[], ["--tls"]], ids=["keys", "tls"])
def test_without_storage_it_is_the_batch_service_alone(
    flags: list[str], start_stack: Callable[..., Program], data: Path
) -> None:
    program = start_stack("--no-storage", *flags)
    program.wait_until("ready")
    settings = env_file.read(data / "stack.env")
    assert [name for name in settings if "STORAGE" in name] == []
    assert len(processes_of(data)) == 1
    health = settings["AZURE_BATCH_ENDPOINT"] + "/_local/health"
    trusted = ssl.create_default_context(cafile=settings.get("SSL_CERT_FILE"))
    assert httpx.get(health, verify=trusted).json()["status"] == "healthy"
    program.send(signal.SIGTERM)
    assert program.end() == (0, "", "")


def test_the_secret_of_the_live_page_is_in_no_log_and_survives_a_restart(
    start_stack: Callable[..., Program], data: Path
) -> None:
    links = []
    for _ in range(2):
        program = start_stack("--no-storage")
        program.wait_until("ready")
        link = env_file.read(data / "stack.env")["LOCAL_AZURE_PAGE"]
        place, _, secret = link.partition("#")
        assert httpx.get(link).status_code == 200  # as a browser, it does not send the secret
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{place}overview", headers=headers).status_code == 200
        assert httpx.get(f"{place}overview", headers={"Authorization": secret[:-1]}).is_error
        program.send(signal.SIGTERM)
        status, printed, logged = program.end()
        assert (status, printed) == (0, "")
        assert secret not in logged + "".join(path.read_text() for path in data.rglob("*.log"))
        links.append(secret)
    assert links[0] == links[1]
    assert len(links[0]) == 32
