"""The service as a whole: start, stop, error codes and routes."""

import base64
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from lab import is_alive, serve, shell, until
from local_azure import batch as package
from local_azure.batch.error_codes import ERRORS
from local_azure.batch.routes import OPERATIONS
from local_azure.ports import LOOPBACK, listen

SOURCES = Path(package.__file__).parent
TESTS = Path(__file__).parent
ACCOUNT, KEY = "starting", base64.b64encode(b"a key for one start").decode()
SERVER = """
import socket, sys, uvicorn
from pathlib import Path
from local_azure.batch import create_app
account, key, data, descriptor = sys.argv[1:]
app = create_app(account=account, key=key, data=Path(data), max_nodes=1, node_path="/bin")
uvicorn.Server(uvicorn.Config(app)).run(sockets=[socket.socket(fileno=int(descriptor))])
"""


def read_all(folder: Path, *, but: str) -> str:
    return "\n".join(path.read_text() for path in folder.rglob("*.py") if path.name != but)


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_code_is_used_and_has_a_test(code: str) -> None:
    assert read_all(SOURCES, but="").count(f'"{code}"') > 1
    assert f'"{code}"' in read_all(TESTS, but="test_service.py")


def test_every_used_error_code_is_in_the_table() -> None:
    given = re.findall(r'BatchError\(\s*"(\w+)"', read_all(SOURCES, but=""))
    assert set(given) <= set(ERRORS)


def test_no_operation_is_listed_twice() -> None:
    assert len({(method, path) for method, path, _ in OPERATIONS}) == len(OPERATIONS)


def test_stopping_ends_all_processes_and_deletes_all_nodes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with serve(tmp_path / "data") as lab:
        start = m.BatchStartTask(command_line=shell(f"echo $$ >> {pids}; exec sleep 60"))
        lab.client.create_pool(lab.pool_options("a", target_dedicated_nodes=1))
        lab.client.create_pool(lab.pool_options("b", target_dedicated_nodes=1, start_task=start))
        lab.task(lab.job("a"), f"trap '' TERM; echo $$ >> {pids}; while :; do sleep 0.1; done")
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        assert len(list((tmp_path / "data").iterdir())) == 2
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())
    assert list((tmp_path / "data").iterdir()) == []


def test_import_start_and_first_answer_take_less_than_a_second_of_cpu(tmp_path: Path) -> None:
    with listen(0) as listener:
        listener.listen()
        listener.set_inheritable(True)
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        given = (ACCOUNT, KEY, str(tmp_path / "data"), str(listener.fileno()))
        command = [sys.executable, "-I", "-c", SERVER, *given]
        pid = os.posix_spawn(sys.executable, command, os.environ)
    try:
        assert first_answer(url) == []  # the connection waits for the service to accept it
    finally:
        os.kill(pid, signal.SIGTERM)
        _, _, usage = os.wait4(pid, 0)
    assert usage.ru_utime + usage.ru_stime < 1


def first_answer(url: str) -> list[m.BatchPool]:
    credential = AzureNamedKeyCredential(ACCOUNT, KEY)
    with BatchClient(url, credential, retry_total=0, read_timeout=20) as client:
        return list(client.list_pools())


def test_the_service_imports_nothing_that_only_transfers_need() -> None:
    program = "import sys, local_azure.batch; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in printed.decode().split()}
    assert {"local_azure", "starlette"} <= loaded
    assert not loaded & {"flows", "tasks", "prefect", "azure", "aiohttp"}
