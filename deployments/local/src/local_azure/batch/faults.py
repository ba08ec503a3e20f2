"""Faults on demand, ordered over `/_local/faults`: the service then fails as the cloud fails.

POST orders one, GET lists those that stand, DELETE takes all of them back. They are looked at in
the order in which they came. One that says `times` strikes so often, one that says `chance` rolls
for it, from the seed last ordered.
"""

import fnmatch
import random
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, RootModel

from local_azure.batch.specs import Spec
from local_azure.batch.state import Failure, Job, Node, Pool, Task

if TYPE_CHECKING:
    from local_azure.batch.service import Service

SAMPLE_SECONDS = 0.05
Seconds = Annotated[float, Field(ge=0, le=86_400, strict=False)]


class Order(Spec):
    """A slip of the pen would be a fault that never strikes, so what is unknown is refused."""

    model_config = ConfigDict(extra="forbid")


class StrikingOrder(Order):
    """Strikes whenever it fits, so many times, or by chance."""

    times: Annotated[int, Field(ge=1)] | None = None
    chance: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None


class Refusal(StrikingOrder):
    """Requests are answered with an error, with or without `Retry-After`."""

    kind: Literal["answer"]
    status: Literal[403, 408, 429, 500, 502, 503, 504]
    retry_after: Annotated[int, Field(ge=0)] | None = None
    operation: str = "*"
    """Which requests, as a pattern: `POST /jobs/*/addtaskcollection`."""


class Drop(StrikingOrder):
    """Connections are dropped, before or after the change was made."""

    kind: Literal["drop"]
    when: Literal["before", "after"]
    operation: str = "*"


class Eviction(StrikingOrder):
    """Spot nodes are evicted: the one that is named, else those of tasks that start."""

    kind: Literal["evict"]
    pool: str | None = None
    node: str | None = None
    task: str | None = None
    after_seconds: Seconds = 0
    return_seconds: Seconds | None = 0
    """After how long the node comes back; null is never."""

    @property
    def names_a_node(self) -> bool:
        """Whether it is for one node now, rather than for tasks that are yet to start."""
        waits = (self.task, self.times, self.chance) != (None, None, None)
        return self.pool is not None and self.node is not None and not waits


class StartTaskFailure(Order):
    """Start tasks fail, on so many nodes or on all."""

    kind: Literal["starttask"]
    pool: str = "*"
    nodes: Annotated[int, Field(ge=1)] | None = None
    exit_code: Annotated[int, Field(ge=1, le=255)] = 1


class ResizeFailure(StrikingOrder):
    """Pools do not grow, and say this code."""

    kind: Literal["resize"]
    pool: str = "*"
    code: Literal[
        "AccountCoreQuotaReached",
        "AccountLowPriorityCoreQuotaReached",
        "AccountSpotCoreQuotaReached",
        "AllocationFailed",
        "AllocationTimedOut",
        "UnsupportedVMSize",
    ]


class Lag(Order):
    """Task counts are as old as this."""

    kind: Literal["lag"]
    seconds: Seconds


class DownloadFailure(StrikingOrder):
    """The resource files of tasks do not come."""

    kind: Literal["download"]
    task: str = "*"
    code: Literal[
        "BlobNotFound",
        "BlobAccessDenied",
        "BlobDownloadMiscError",
        "BlobDownloadTimedOut",
        "DiskFull",
    ]


class UploadFailure(StrikingOrder):
    """The output files of tasks do not arrive."""

    kind: Literal["upload"]
    task: str = "*"
    code: Literal[
        "FileUploadAccessDenied",
        "FileUploadContainerNotFound",
        "FileUploadMiscError",
    ]


class Loss(Order):
    """A node is lost for good."""

    kind: Literal["lose"]
    pool: str
    node: str


class BadToken(StrikingOrder):
    """Tokens that Entra ID gives out have a flaw, or are not to be had."""

    kind: Literal["token"]
    flaw: Literal["refused", "expired", "early", "audience", "issuer", "signature", "role"]
    resource: str = "*"
    """For which resource, as a pattern: `https://batch.*`."""


class CoreQuota(Order):
    """Resource Manager tells of so few cores; pools are not held to it."""

    kind: Literal["quota"]
    nodes: Literal["spot", "dedicated"]
    cores: Annotated[int, Field(ge=0)]


class SizeWithdrawal(Order):
    """Resource Manager does not list sizes; pools of them are made nevertheless."""

    kind: Literal["size"]
    vm_size: str
    """Which ones, as a pattern: `Standard_D*ds_v5`."""


class Boot(StrikingOrder):
    """Nodes take so long to boot."""

    kind: Literal["boot"]
    pool: str = "*"
    seconds: Seconds


class ClockRate(Order):
    """The service's clock runs so much faster than the wall's."""

    kind: Literal["clock"]
    rate: Annotated[float, Field(gt=0, le=100_000, strict=False)]


class Skew(Order):
    """The clock by which requests are judged is off by so much; negative is behind."""

    kind: Literal["skew"]
    seconds: Annotated[float, Field(ge=-86_400, le=86_400, strict=False)]


class Seed(Order):
    """What is by chance is from here on the same each time."""

    kind: Literal["seed"]
    seed: int


Fault = Annotated[
    Refusal
    | Drop
    | Eviction
    | StartTaskFailure
    | ResizeFailure
    | Lag
    | DownloadFailure
    | UploadFailure
    | Loss
    | BadToken
    | CoreQuota
    | SizeWithdrawal
    | Boot
    | ClockRate
    | Skew
    | Seed,
    Field(discriminator="kind"),
]


class AnyOrder(RootModel[Fault]):
    """The body of an order."""


class _Standing:
    """An order, how often it has yet to strike, and the nodes that it has picked."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.times if isinstance(order, StrikingOrder) else None
        self.nodes: set[str] = set()


Kind = TypeVar("Kind", bound=StrikingOrder)


class Faults:
    def __init__(self, service: "Service") -> None:
        self._service = service
        self._standing: list[_Standing] = []
        self._random = random.Random()  # noqa: S311 - reproducible on purpose
        self._lag = timedelta()
        self.skew = timedelta()
        self._history: dict[int, deque[tuple[datetime, dict[str, Any]]]] = {}

    def order(self, order: Order) -> None:
        """Does what is to be done at once; keeps what is to strike later."""
        match order:
            case Seed():
                self._random.seed(order.seed)
            case ClockRate():
                self._stand_alone(order)
                self._service.clock.run_at(order.rate)
            case Loss():
                lost = self._service.node(order.pool, order.node)
                self._service.nodes.lose(lost, "The node was lost by order")
            case Eviction(pool=str(pool), node=str(node)) if order.names_a_node:
                self._evict(self._service.node(pool, node), order)
            case Skew():
                self._stand_alone(order)
                self.skew = timedelta(seconds=order.seconds)
            case Lag():
                self._stand_alone(order)
                self._watch_counts(order)
            case _:
                self._standing.append(_Standing(order))

    def _stand_alone(self, order: Order) -> None:
        """Notes an order of which there can be only one at a time."""
        others = [each for each in self._standing if type(each.order) is not type(order)]
        self._standing = [*others, _Standing(order)]

    def listing(self) -> list[dict[str, Any]]:
        return [standing.order.wire() for standing in self._standing]

    def clear(self) -> None:
        self._standing.clear()
        self._history.clear()
        self._lag = self.skew = timedelta()
        self._service.clock.run_at(1.0)

    def _strike(self, sort: type[Kind], /, **matching: str) -> Kind | None:
        """The first order of the kind that fits, and strikes now."""
        for standing in self._standing:
            if isinstance(standing.order, sort) and _fits(standing.order, matching):
                chance = standing.order.chance
                if chance is None or self._random.random() < chance:
                    return self._spend(standing, standing.order)
        return None

    def _spend(self, standing: _Standing, order: Kind) -> Kind:
        if standing.left is not None:
            standing.left -= 1
            if standing.left == 0:
                self._standing.remove(standing)
        return order

    def refusal(self, operation: str) -> Refusal | None:
        return self._strike(Refusal, operation=operation)

    def drop(self, operation: str) -> Drop | None:
        return self._strike(Drop, operation=operation)

    def resize_error(self, pool: Pool) -> str | None:
        order = self._strike(ResizeFailure, pool=pool.id)
        return order.code if order else None

    def token_flaw(self, resource: str) -> str | None:
        order = self._strike(BadToken, resource=resource)
        return order.flaw if order else None

    def core_quota(self, nodes: str, usual: int) -> int:
        """The least that was ordered; never more than usual."""
        orders = [standing.order for standing in self._standing]
        lower = [o.cores for o in orders if isinstance(o, CoreQuota) and o.nodes == nodes]
        return min([usual, *lower])

    def is_withdrawn(self, vm_size: str) -> bool:
        orders = [standing.order for standing in self._standing]
        return any(isinstance(o, SizeWithdrawal) and _fits(o, {"vm_size": vm_size}) for o in orders)

    def boot_seconds(self, pool: Pool) -> float:
        order = self._strike(Boot, pool=pool.id)
        return order.seconds if order else 0

    def start_task_exit(self, node: Node) -> int | None:
        """The exit code that this node's start task ends with, whatever it would do."""
        for standing in self._standing:
            order = standing.order
            if isinstance(order, StartTaskFailure) and _fits(order, {"pool": node.pool.id}):
                room = order.nodes is None or len(standing.nodes) < order.nodes
                if node.id in standing.nodes or room:
                    standing.nodes.add(node.id)
                    return order.exit_code
        return None

    def transfer(
        self, direction: type[DownloadFailure | UploadFailure], task: Task
    ) -> Failure | None:
        order = self._strike(direction, task=task.id)
        return Failure(code=order.code, message="This fault was ordered") if order else None

    def task_starts(self, task: Task, node: Node) -> None:
        """Evicts the node while the task runs, where an order says so."""
        if not node.dedicated:
            names = {"pool": node.pool.id, "node": node.id, "task": task.id}
            if order := self._strike(Eviction, **names):
                self._evict(node, order)

    def _evict(self, node: Node, order: Eviction) -> None:
        self._service.nodes.preempt(
            node, after_seconds=order.after_seconds, return_seconds=order.return_seconds
        )

    def _watch_counts(self, order: Lag) -> None:
        watching = bool(self._lag)
        self._lag = timedelta(seconds=order.seconds)
        if not watching:
            self._service.workers.spawn(self._sample(), name="lag of the task counts")

    async def _sample(self) -> None:
        while self._lag:
            now = self._service.clock.now()
            for job in self._service.jobs.values():
                samples = self._history.setdefault(job.serial, deque())
                samples.append((now, job.counted()))
                while len(samples) > 1 and samples[1][0] <= now - self._lag:
                    samples.popleft()
            await self._service.clock.sleep(SAMPLE_SECONDS)

    def counts(self, job: Job) -> dict[str, Any]:
        """The job's counts, or those of a while ago when they are to lag."""
        if not self._lag:
            return job.counted()
        before = self._service.clock.now() - self._lag
        old = [counts for at, counts in self._history.get(job.serial, ()) if at <= before]
        return old[-1] if old else Job.nothing_counted()


def _fits(order: Order, matching: dict[str, str]) -> bool:
    """Whether every pattern of the order matches; one that it does not have fits all."""
    return all(
        fnmatch.fnmatchcase(value.lower(), (getattr(order, name, None) or "*").lower())
        for name, value in matching.items()
    )
