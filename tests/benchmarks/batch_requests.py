"""Requests of a run to Batch: `python tests/benchmarks/batch_requests.py`.

The first part runs 100 and 1,100 files and subtracts: the difference is the cost of 1,000 files,
polls by the watcher not included. The second part makes nodes boot slowly, and counts the requests
of the third minute, in which the run only waits.
"""

import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest

from rounds import record
from storage_proxy import RecordedRequest, StorageProxy, running_proxy
from surroundings import CONVERT, Surroundings
from tiny import idle_surroundings, make_tiny

FEW, MANY = 100, 1_100
NOUNS = ("addtaskcollection", "jobs", "nodecounts", "nodes", "pools", "taskcounts", "tasks")
LOOKS = ("GET */taskcounts", "GET nodecounts", "GET */nodes", "GET *")
FROM_SECONDS, TO_SECONDS = 120, 180


def main() -> None:
    with idle_surroundings() as around, counted(around) as proxy:
        few, many = (ask_for(around, proxy, count) for count in (FEW, MANY))
        order(around, {"kind": "boot", "seconds": 2 * TO_SECONDS})
        waiting = ask_while_waiting(around, proxy)
    slope = many - few
    for name in sorted(slope):
        print(f"{slope[name]:5} {name}")
    record(
        "batch_requests.py",
        part="slope",
        what=f"requests to Batch per {MANY - FEW:,} files",
        target="≤ 15",
        measured=str(sum(slope[name] for name in slope if name not in LOOKS)),
        note="adding batch tasks in collections of 100, and listing them once at the end; the"
        f" watcher polled {sum(slope[name] for name in LOOKS)} times more in the longer run",
    )
    record(
        "batch_requests.py",
        part="waiting",
        what="requests to Batch in one minute of waiting, after the second minute",
        target="≤ 10",
        measured=str(sum(waiting.values())),
        note="the same for any number of files: counts instead of listings",
    )


@contextmanager
def counted(around: Surroundings) -> Iterator[StorageProxy]:
    """Count the command's requests to the Batch service with a proxy."""
    name = "AZURE_BATCH_ENDPOINT"
    with running_proxy(f"BlobEndpoint={around.stack.settings[name]}/x") as proxy:
        around.environment[name] = f"http://127.0.0.1:{proxy.port}"
        yield proxy


def ask_for(around: Surroundings, proxy: StorageProxy, count: int) -> Counter[str]:
    """Return the requests of a run with `count` files."""
    proxy.requests.clear()
    around.convert(make_tiny(around.folder / f"tiny-{count}", count))
    return operations(proxy.requests)


def ask_while_waiting(around: Surroundings, proxy: StorageProxy) -> Counter[str]:
    """Return the requests of a minute in which a run only waits."""
    library = make_tiny(around.folder / "waiting", 1)
    name = uuid.uuid4().hex[:12]
    command = [*CONVERT, library, "--container", f"output-{name}", "--force"]
    proxy.requests.clear()
    with subprocess.Popen(command, env=around.environment, stderr=subprocess.DEVNULL) as run:
        while not any(asked.blob.endswith("taskcounts") for asked in proxy.requests):
            time.sleep(0.1)
        began = next(a.at_seconds for a in proxy.requests if a.blob.endswith("taskcounts"))
        while time.monotonic() < began + TO_SECONDS:
            time.sleep(1)
        run.terminate()
    minute = (began + FROM_SECONDS, began + TO_SECONDS)
    return operations(a for a in proxy.requests if minute[0] <= a.at_seconds < minute[1])


def operations(asked: Iterable[RecordedRequest]) -> Counter[str]:
    return Counter(f"{a.method} {operation(a.blob)}" for a in asked)


def operation(path: str) -> str:
    """Return the path with names replaced: `*/tasks`."""
    return "/".join(part if part in NOUNS else "*" for part in path.strip("/").split("/"))


def order(around: Surroundings, fault: dict[str, object]) -> None:
    send_fault_request(around, "POST", json=fault)


def remove_faults(around: Surroundings) -> None:
    send_fault_request(around, "DELETE")


def send_fault_request(around: Surroundings, method: str, **content: object) -> None:
    settings = around.stack.settings
    key = AzureNamedKeyCredential(
        settings["AZURE_BATCH_ACCOUNT"], settings["AZURE_BATCH_ACCESS_KEY"]
    )
    with BatchClient(settings["AZURE_BATCH_ENDPOINT"], key) as client:
        request = HttpRequest(method, "/_local/faults?api-version=2025-06-01", **content)
        client.send_request(request).raise_for_status()


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    main()
