"""The kinds of faults that can be ordered, each with its fields."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, RootModel

from local_azure.batch.spec_types import Spec

Seconds = Annotated[float, Field(ge=0, le=86_400, strict=False)]


class Order(Spec):
    """An order of a fault. Unknown fields are refused: a misspelt fault would never happen."""

    model_config = ConfigDict(extra="forbid")


class StrikingOrder(Order):
    """A fault that happens each time it matches: `times` times, or with probability `chance`."""

    times: Annotated[int, Field(ge=1)] | None = None
    chance: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None


class Refusal(StrikingOrder):
    """Requests are answered with an error, with or without `Retry-After`."""

    kind: Literal["answer"]
    status: Literal[403, 408, 409, 429, 500, 502, 503, 504]
    retry_after: Annotated[int, Field(ge=0)] | None = None
    operation: str = "*"
    """A pattern for method and path: `POST /jobs/*/addtaskcollection`."""


class Drop(StrikingOrder):
    """Connections are dropped, before or after the change is made."""

    kind: Literal["drop"]
    when: Literal["before", "after"]
    operation: str = "*"


class Eviction(StrikingOrder):
    """Spot nodes are evicted: the named node, or the nodes of tasks that start."""

    kind: Literal["evict"]
    pool: str | None = None
    node: str | None = None
    task: str | None = None
    after_seconds: Seconds = 0
    return_seconds: Seconds | None = 0
    """When the node comes back. None: never."""

    @property
    def names_a_node(self) -> bool:
        """Whether the order is for one node now, not for tasks that start later."""
        waits = (self.task, self.times, self.chance) != (None, None, None)
        return self.pool is not None and self.node is not None and not waits


class StartTaskFailure(Order):
    """Start tasks fail, on a number of nodes or on all nodes."""

    kind: Literal["starttask"]
    pool: str = "*"
    nodes: Annotated[int, Field(ge=1)] | None = None
    exit_code: Annotated[int, Field(ge=1, le=255)] = 1


class ResizeFailure(StrikingOrder):
    """Pools do not grow, and report this resize error."""

    kind: Literal["resize"]
    pool: str = "*"
    code: Literal[
        "AccountCoreQuotaReached",
        "AccountLowPriorityCoreQuotaReached",
        "AccountSpotCoreQuotaReached",
        "AllocationFailed",
        "AllocationTimedout",  # so spelled by Azure: Azure/Batch #40, nextflow #7312
        "UnsupportedVMSize",
    ]


class Lag(Order):
    """Task counts are this old."""

    kind: Literal["lag"]
    seconds: Seconds


class DownloadFailure(StrikingOrder):
    """Tasks cannot download their resource files."""

    kind: Literal["download"]
    task: str = "*"
    code: Literal[
        "BlobNotFound",
        "BlobAccessDenied",
        "BlobDownloadMiscError",
        "BlobDownloadTimedOut",
        "DiskFull",
        "ResourceDirectoryCreateFailed",
        "ResourceFileCreateFailed",
        "ResourceFileWriteFailed",
    ]


class UploadFailure(StrikingOrder):
    """Tasks cannot upload their output files."""

    kind: Literal["upload"]
    task: str = "*"
    code: Literal[
        "FileUploadAccessDenied",
        "FileUploadContainerNotFound",
        "FileUploadMiscError",
    ]


class Loss(Order):
    """A node becomes unusable and stays so."""

    kind: Literal["lose"]
    pool: str
    node: str


class TokenFault(StrikingOrder):
    """Microsoft Entra ID issues tokens with a flaw, or refuses to issue them."""

    kind: Literal["token"]
    flaw: Literal[
        "refused",
        "unavailable",
        "brief",
        "expired",
        "early",
        "audience",
        "issuer",
        "signature",
        "role",
    ]
    resource: str = "*"
    """A pattern for the resource: `https://batch.*`."""


class RoleDelay(Order):
    """The roles of the tenant's application take effect this long after the order.

    https://learn.microsoft.com/azure/role-based-access-control/troubleshooting says ten minutes.
    """

    kind: Literal["role"]
    seconds: Seconds


class CoreQuota(Order):
    """Resource Manager reports this number of cores. Pools can have more."""

    kind: Literal["quota"]
    nodes: Literal["spot", "dedicated"]
    cores: Annotated[int, Field(ge=0)]


class SizeWithdrawal(Order):
    """Resource Manager does not list VM sizes. Pools of these sizes can still be created."""

    kind: Literal["size"]
    vm_size: str
    """A pattern for the sizes: `Standard_D*ds_v5`."""


class Boot(StrikingOrder):
    """Nodes take this long to boot."""

    kind: Literal["boot"]
    pool: str = "*"
    seconds: Seconds


class SchedulingDelay(StrikingOrder):
    """Tasks start this long after a node has slots for them. The slots stay reserved.

    In Azure it takes 2 to 5 s: Azure/Batch #58.
    """

    kind: Literal["schedule"]
    task: str = "*"
    seconds: Seconds


class ClockRate(Order):
    """The service's clock runs `rate` times as fast as real time."""

    kind: Literal["clock"]
    rate: Annotated[float, Field(gt=0, le=100_000, strict=False)]


class Skew(Order):
    """The clock that checks the age of requests is wrong by this much. Negative: it is behind."""

    kind: Literal["skew"]
    seconds: Annotated[float, Field(ge=-86_400, le=86_400, strict=False)]


class Seed(Order):
    """Faults with a `chance` happen in the same sequence each time from now on."""

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
    | TokenFault
    | RoleDelay
    | CoreQuota
    | SizeWithdrawal
    | Boot
    | SchedulingDelay
    | ClockRate
    | Skew
    | Seed,
    Field(discriminator="kind"),
]


class AnyOrder(RootModel[Fault]):
    """The body of a request that orders a fault."""
