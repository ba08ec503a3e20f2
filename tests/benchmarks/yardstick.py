"""Yardsticks: what something well known takes on this machine, beside a bound in seconds."""

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from rounds import ratios, spread
from surroundings import Surroundings

UPLOADS = 1_000
EMPTY_FLOW = """
import asyncio
from prefect import flow

@flow
async def empty():
    pass

asyncio.run(empty())
"""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """A bound in seconds or milliseconds, and what its machine took for something well known.

    Machines differ by more than any bound leaves; what both take on the same machine does not.
    """

    bound: float
    unit: str
    known: str
    known_took: float  # where the bound was set, in the bound's unit

    @property
    def reach(self) -> str:
        return (
            f"≤ {self.bound:g} {self.unit} where {self.known} takes {self.known_took:g},"
            f" ≤ {self.bound / self.known_took:.2f} of it"
        )

    def measured(self, values: Sequence[float], known: Sequence[float]) -> str:
        """Each beside what the well known took here, in the same round."""
        return f"{spread(values)} {self.unit}, {spread(ratios(values, known))} of it"


EMPTY_FLOW_BESIDE = Yardstick(bound=2.5, unit="s", known="an empty flow", known_took=1.2)
EMPTY_FLOW_ALONE = Yardstick(
    bound=6, unit="s", known="an empty flow on an ephemeral server", known_took=6.7
)
UPLOAD = Yardstick(bound=4, unit="ms", known="`upload_blob` alone", known_took=1.35)
LISTING = Yardstick(bound=4, unit="s", known="one listing alone", known_took=1.6)


def empty_flow_seconds(around: Surroundings) -> float:
    return around.run(sys.executable, "-c", EMPTY_FLOW).seconds


def upload_milliseconds(around: Surroundings, library: Path) -> float:
    """CPU a file of `upload_blob`, one after the other, into a container that goes again."""
    paths = sorted(library.rglob("*.wav"))[:UPLOADS]
    with blob_service(around) as service:
        container = service.create_container(f"alone-{uuid.uuid4().hex[:12]}")
        started = time.process_time()
        for path in paths:
            with path.open("rb") as file:
                container.upload_blob(path.name, file)
        used = time.process_time() - started
        container.delete_container()
    return used * 1000 / len(paths)


def listing_seconds(around: Surroundings, container: str) -> float:
    """Of one listing of all names, the cheapest that the SDK has; ours reads metadata, too."""
    with blob_service(around) as service:
        names = service.get_container_client(container).list_blob_names()
        started = time.perf_counter()
        for _ in names:
            pass
        return time.perf_counter() - started


def blob_service(around: Surroundings) -> BlobServiceClient:
    connection = around.environment["AZURE_STORAGE_CONNECTION_STRING"]
    return BlobServiceClient.from_connection_string(connection)
