"""The Prefect server of a command's own."""

import subprocess
import sys

import httpx


def test_a_server_answers_on_loopback(prefect_server: str) -> None:
    assert prefect_server.startswith("http://127.0.0.1:")
    assert httpx.get(f"{prefect_server}/health").json() is True


FLOW = """
from prefect import flow
from prefect.runtime import flow_run

@flow
def names_itself():
    print(flow_run.id)

names_itself()
"""


def test_a_flow_of_another_process_is_recorded_on_it(prefect_server: str) -> None:
    program = subprocess.run([sys.executable, "-c", FLOW], capture_output=True, check=True)
    recorded = httpx.get(f"{prefect_server}/flow_runs/{program.stdout.decode().strip()}")
    assert recorded.json()["state_type"] == "COMPLETED"
