"""Speed of the local Batch service: `python tests/benchmarks/batch_service.py [--tasks N]`.

It starts its own stack on free ports and prints a table. The real client, the service and the
processes of the tasks share the machine, so the numbers include all of them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from local_azure.testing import LocalStack, local_stack

SLOTS = 8
FEW_TASKS = 100
SAMPLES = 200
IMPORT = "import time; start = time.perf_counter(); from local_azure.batch import create_app; "
START = (
    "from pathlib import Path; import sys; "
    "create_app(account='a', key='', data=Path(sys.argv[1]), max_nodes=1, node_path=''); "
    "print(time.perf_counter() - start)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    count = parser.parse_args().tasks
    with tempfile.TemporaryDirectory() as data:
        folder = Path(data)
        start_seconds = app_seconds(folder)
        with local_stack(folder / "stack", "--nodes", "1") as stack, connected(stack) as client:
            figures = list(measured(client, stack, count))
    table = Table("", "", title=f"{count} tasks of `true` on {SLOTS} slots of one node")
    table.add_row("time to import and create the application", f"{start_seconds:.2f} s")
    for name, figure in figures:
        table.add_row(name, figure)
    Console().print(table)


def app_seconds(folder: Path) -> float:
    """Return the time to import and create the application: the best of three processes."""
    command = [sys.executable, "-c", IMPORT + START, folder / "app"]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


@contextmanager
def connected(stack: LocalStack) -> Iterator[BatchClient]:
    settings = stack.settings
    account, key = settings["AZURE_BATCH_ACCOUNT"], settings["AZURE_BATCH_ACCESS_KEY"]
    endpoint = settings["AZURE_BATCH_ENDPOINT"]
    with BatchClient(endpoint, AzureNamedKeyCredential(account, key)) as client:
        yield client


def measured(client: BatchClient, stack: LocalStack, count: int) -> Iterator[tuple[str, str]]:
    """Measure and yield the rows of the table, one by one."""
    make_pool(client)
    run(client, "few", FEW_TASKS)
    started = time.perf_counter()
    added, done = run(client, "many", count)
    cpu = cpu_seconds(stack.process.pid)
    few, many = (counts_seconds(client, job_id) for job_id in ("few", "many"))
    yield "tasks added per second", f"{count / (added - started):,.0f}"
    yield "tasks run per second, including adding them", f"{count / (done - started):,.0f}"
    yield "CPU time of the service per task", f"{cpu / (count + FEW_TASKS) * 1000:.2f} ms"
    listed, list_seconds = timed(lambda: len(list(client.list_tasks("many"))))
    yield f"time to list all {listed} tasks", f"{list_seconds:.2f} s"
    yield f"time to get task counts, {FEW_TASKS} tasks", f"{few * 1000:.2f} ms"
    yield (
        f"time to get task counts, {count} tasks",
        f"{many * 1000:.2f} ms ({many / few:.2f} times)",
    )
    yield "requests per second, one client", f"{1 / many:,.0f}"
    yield "requests per second, four clients", f"{requests_a_second(stack, clients=4):,.0f}"
    yield "peak memory of the service", f"{peak_megabytes(stack.process.pid):,.0f} MB"


def make_pool(client: BatchClient) -> None:
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )
    options = models.BatchPoolCreateOptions(
        id="pool",
        vm_size="STANDARD_D4DS_V5",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=1,
        task_slots_per_node=SLOTS,
    )
    client.create_pool(options)
    while not any(node.state == "idle" for node in client.list_nodes("pool")):
        time.sleep(0.01)


def run(client: BatchClient, job_id: str, count: int) -> tuple[float, float]:
    """Run `count` tasks. Returns when they were added, and when all had succeeded."""
    info = models.BatchPoolInfo(pool_id="pool")
    client.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=info))
    tasks = [models.BatchTaskCreateOptions(id=f"t{n}", command_line="true") for n in range(count)]
    client.create_tasks(job_id, tasks)
    added = time.perf_counter()
    while client.get_job_task_counts(job_id).task_counts.succeeded < count:
        time.sleep(0.05)
    return added, time.perf_counter()


def timed(act: Callable[[], int]) -> tuple[int, float]:
    started = time.perf_counter()
    return act(), time.perf_counter() - started


def counts_seconds(client: BatchClient, job_id: str) -> float:
    def sample(_: int) -> float:
        return timed(lambda: client.get_job_task_counts(job_id).task_counts.succeeded)[1]

    return statistics.median(map(sample, range(SAMPLES)))


def requests_a_second(stack: LocalStack, *, clients: int) -> float:
    def ask(_: int) -> None:
        with connected(stack) as client:
            for _ in range(SAMPLES):
                client.get_job_task_counts("many")

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    return clients * SAMPLES / (time.perf_counter() - started)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of the process without its children."""
    listing = subprocess.run(
        ["/bin/ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    seconds = 0.0
    for part in listing.stdout.strip().replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def peak_megabytes(pid: int) -> float:
    """Return the peak memory of the process, or its current memory where there is no /proc."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    listing = subprocess.run(
        ["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(listing.stdout) / 1024


if __name__ == "__main__":
    main()
