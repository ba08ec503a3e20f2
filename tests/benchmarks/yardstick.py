"""Yardsticks: targets in seconds, as multiples of a well-known operation on the same machine."""

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from azure.storage.blob import BlobServiceClient

from rounds import ratios, spread
from surroundings import Surroundings

UPLOADS = 1_000
EMPTY = """
import asyncio
from prefect import flow

@flow
async def empty():
    pass

asyncio.run(empty())
"""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """A target, and what a well-known operation took on the machine where it was set.

    The speed of machines differs more than a target allows. The ratio of two operations differs far
    less.
    """

    bound: float
    unit: str
    known: str
    known_took: float

    @property
    def target(self) -> str:
        times = self.bound / self.known_took
        return (
            f"≤ {times:.2f} times {self.known}:"
            f" {self.bound:g} {self.unit} where that takes {self.known_took:g}"
        )

    def measured(self, values: Sequence[float], known: Sequence[float]) -> str:
        """Return the ratios to the well-known operation, measured in the same rounds."""
        return (
            f"{spread(ratios(values, known))} times: {spread(values, 1)} {self.unit}"
            f" where that takes {median(known):.1f}"
        )


# Set on a machine with two cores, where the floor of 40 talks took 26.5 s.
EMPTY_FLOW = Yardstick(bound=1.725, unit="s", known="an empty flow", known_took=1.5)
EPHEMERAL_FLOW = Yardstick(
    bound=6, unit="s", known="an empty flow on an ephemeral server", known_took=7.4
)
RERUN = replace(EMPTY_FLOW, bound=4)
# As measured when the target was set.
UPLOAD = Yardstick(bound=4, unit="ms", known="the CPU of `upload_blob` alone", known_took=1.35)


def empty_flow_seconds(around: Surroundings) -> float:
    return around.run(sys.executable, "-c", EMPTY).seconds


def upload_cpu_milliseconds(around: Surroundings, library: Path) -> float:
    """Return the CPU time of `upload_blob` per file, one file after the other."""
    connection = around.environment["AZURE_STORAGE_CONNECTION_STRING"]
    paths = sorted(library.rglob("*.wav"))[:UPLOADS]
    with BlobServiceClient.from_connection_string(connection) as service:
        container = service.create_container(f"alone-{uuid.uuid4().hex[:12]}")
        started = time.process_time()
        for path in paths:
            with path.open("rb") as file:
                container.upload_blob(path.name, file)
        used = time.process_time() - started
        container.delete_container()
    return used * 1000 / len(paths)
