"""The story of every client, by azure-cli: run tasks, print their output, delete all."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AZ = (sys.executable, "-m", "azure.cli", "batch")
TASKS = ("t0", "t1", "t2")
TIMEOUT_SECONDS = 120


def az(*words: str) -> str:
    run = subprocess.run([*AZ, *words], stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


def until_completed(task_id: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    show = ("task", "show", "--job-id", "story", "--task-id", task_id)
    while json.loads(az(*show))["state"] != "completed":
        assert time.monotonic() < deadline, "timeout"


def create_pool() -> None:
    image = ("--image", "canonical:ubuntu-24_04-lts:server")
    agent = ("--node-agent-sku-id", "batch.node.ubuntu 24.04")
    size = ("--vm-size", "Standard_D2ds_v5", "--target-dedicated-nodes", "1")
    az("pool", "create", "--id", "story", *size, *image, *agent)


def main() -> None:
    create_pool()
    az("job", "create", "--id", "story", "--pool-id", "story")
    command = "/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'"
    for each in TASKS:
        task = ("--job-id", "story", "--task-id", each)
        az("task", "create", *task, "--command-line", command)
    with tempfile.TemporaryDirectory() as folder:
        for each in TASKS:
            until_completed(each)
            task, target = ("--job-id", "story", "--task-id", each), Path(folder, each)
            az("task", "file", "download", *task, "--file-path", "stdout.txt",
               "--destination", str(target))  # fmt: skip
            sys.stdout.write(target.read_text())
            az("task", "delete", *task, "--yes")
    az("job", "delete", "--job-id", "story", "--yes")
    az("pool", "delete", "--pool-id", "story", "--yes")


if __name__ == "__main__":
    main()
