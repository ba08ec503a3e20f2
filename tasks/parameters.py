"""The parameters of a run: flags of the command, fields of Prefect's form, keys of prefect.yaml.

Each model is one box in Prefect's form. Every field has a default, so that setting one field keeps
the defaults of the others. An empty string means "none", because Prefect's form shows a field of an
optional type as two tabs.
"""

from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tasks.media.presets import Choices, Preset, presets_for
from tasks.parameter_types import (
    Amount,
    BlockName,
    ContainerName,
    File,
    Folder,
    Keep,
    Languages,
    Minutes,
    Name,
    Nodes,
    Options,
    Presets,
    Switch,
    matching,
    without_dots,
)

APT_FAMILIES = ("ubuntu", "debian")
LEAST_WARM_MINUTES = 10  # Batch evaluates a pool's formula every five minutes


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(Parameters):
    """Output formats, ffmpeg options and the destination."""

    model_config = ConfigDict(validate_by_name=True)

    presets: Presets = Field(
        ["mp3"], description="The output formats. On the command line, repeat the flag for each."
    )
    options: Options = Field(
        [],
        description="Extra ffmpeg options such as '-ar 44100': codecs, rates, channels, quality"
        " and filters that open no file.",
    )
    language: Languages = Field(
        [],
        description="Preferred languages of the sound track, such as eng. On the command line,"
        " repeat the flag in order of preference. Empty: the default track.",
    )
    tracks: Literal["default", "all"] = Field(
        "default",
        description="Sound tracks of each output: the default one, or all of them with the text"
        " subtitles, where the format can hold them.",
    )
    copying: Literal["auto", "never"] = Field(
        "auto",
        alias="copy",  # a model of pydantic has a method of this name
        description="Copy sound that has the preset's format already, or always encode it again.",
    )
    upload: Literal["needed", "whole"] = Field(
        "needed",
        description="Upload only the sound and the cover of a film if the presets need no more, or"
        " always whole files.",
    )
    container: ContainerName = Field(
        "output", description="Blob container for the converted files."
    )
    prefix: Annotated[
        Folder,
        AfterValidator(without_dots),
        *matching(
            r"^([^/\\\x00-\x1f]+/)*[^/\\\x00-\x1f]*$",
            "a valid folder in a container: use names separated by single slashes, without a"
            " leading slash and without backslashes",
        ),
    ] = Field("", max_length=200, description="Folder inside the output container.")
    download_to: Folder = Field(
        "", description="Local folder to download the converted files to. Empty: no download."
    )
    report: File = Field(
        "", description="JSON file for the report on every source. Empty: no report file."
    )

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        self.chosen  # noqa: B018  it checks them
        return self

    @property
    def chosen(self) -> tuple[Preset, ...]:
        """The presets of the run, with `options` and the choices of tracks applied."""
        choices = Choices(tuple(self.language), self.tracks, self.copying)
        return presets_for(self.presets, self.options, choices)


class Run(Parameters):
    """The mode of this run, and its accounts."""

    dry_run: Switch = Field(
        default=False,
        description="Check the accounts and show what the run would do, without doing it.",
    )
    force: Switch = Field(
        default=False,
        description="Convert all files, even those that are converted or failed in an earlier run.",
    )
    retry_failed: Switch = Field(
        default=False,
        description="Try sources again that an earlier run could not convert. Without it, they"
        " cost nothing for 30 days.",
    )
    known_failures: Literal["fail", "warn"] = Field(
        "fail",
        description="Sources that failed in an earlier run and are not tried again: fail this run,"
        " or only warn.",
    )
    account: BlockName = Field(
        "",
        description="Prefect block (type: Azure accounts) with the accounts to use. Empty: use the"
        " environment.",
    )


class Pool(Parameters):
    """The nodes that convert the files."""

    id: Annotated[
        Name, *matching(r"^[A-Za-z0-9_-]*$", "a valid pool id: use letters, digits, - and _")
    ] = Field("", max_length=64, description="Id of an existing shared pool. Empty: create a pool.")
    identity: Annotated[
        Name,
        *matching(
            r"(?i)^(/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
            r"/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+)?$",
            "the resource id of a managed identity: use /subscriptions/…/resourceGroups/…/providers"
            "/Microsoft.ManagedIdentity/userAssignedIdentities/…",
        ),
    ] = Field(
        "",
        description="Resource id of the shared pool's managed identity, with which nodes read"
        " blobs. Empty: nodes use SAS tokens.",
    )
    vm_size: str = Field(
        "Standard_D2ds_v5", min_length=1, description="Azure VM size of each node."
    )
    spot_nodes: Nodes = Field(
        5, description="Maximum number of Spot nodes. They are cheap, but Azure can evict them."
    )
    dedicated_nodes: Nodes = Field(0, description="Maximum number of dedicated nodes.")
    priority: int = Field(
        0, ge=-1000, le=1000, description="Job priority within a shared pool, from -1000 to 1000."
    )
    slots_per_node: int = Field(
        0,
        ge=0,
        le=256,
        description="Files each node converts in parallel. 0: one per vCPU, more for short files,"
        " or the number of the shared pool.",
    )
    fallback_minutes: Minutes = Field(
        0, description="Use dedicated nodes after this many minutes without a Spot node. 0: never."
    )
    keep_warm_minutes: Minutes = Field(
        0,
        description="Keep the pool for later runs with the same parameters; remove its last node"
        " this many minutes after its last file. 0: use the pool for this run only.",
    )

    @model_validator(mode="after")
    def _check_nodes(self) -> Self:
        if not (self.id or self.spot_nodes or self.dedicated_nodes):
            raise ValueError(
                "the pool would have no nodes: set pool.spot_nodes or pool.dedicated_nodes"
            )
        if self.keep_warm_minutes and self.keep_warm_minutes < LEAST_WARM_MINUTES:
            raise ValueError(
                f"pool.keep_warm_minutes must be 0 or at least {LEAST_WARM_MINUTES}:"
                " Batch evaluates the pool's formula every five minutes"
            )
        if self.id and (self.keep_warm_minutes or self.fallback_minutes):
            raise ValueError(
                "a shared pool (pool.id) scales itself: leave out pool.keep_warm_minutes"
                " and pool.fallback_minutes"
            )
        return self

    @model_validator(mode="after")
    def _check_identity(self) -> Self:
        if self.identity and not self.id:
            raise ValueError("pool.identity requires pool.id: a run's own pool has no identity")
        return self


class Node(Parameters):
    """Image, ffmpeg and network of each node. An existing shared pool (pool.id) has its own."""

    image: Annotated[
        str,
        Parameter(metavar="NAME"),
        *matching(
            r"^([a-z]+(-\d+(\.\d+)?)?|/subscriptions/\S+)$",
            "an image family such as ubuntu, a release such as ubuntu-24.04, or an image's resource"
            " id such as /subscriptions/…",
        ),
    ] = Field(
        "ubuntu",
        description="Image family such as ubuntu, debian or almalinux (its newest release that this"
        " project has tested is used), a release such as ubuntu-26.04, or the resource id of your"
        " own image.",
    )
    agent: Annotated[
        Name, *matching(r"^(batch\.node\..+)?$", "a node agent such as 'batch.node.el 9'")
    ] = Field(
        "",
        description="Node agent such as 'batch.node.el 9', required with your own image.",
    )
    ffmpeg: Annotated[
        str,
        Parameter(metavar="WORD"),
        *matching(
            r"^(apt|image|az://[a-z0-9-]{3,63}/.+)$", "'apt', 'image' or az://container/blob"
        ),
    ] = Field(
        "apt",
        description="Where nodes get ffmpeg: apt (install it), image (it is in the image) or"
        " az://container/blob (the program).",
    )
    fill: Literal["spread", "pack"] = Field(
        "spread", description="Spread files over all nodes, or pack them onto as few as possible."
    )
    subnet_id: Annotated[
        Name,
        *matching(
            r"^(/subscriptions/\S+/subnets/\S+)?$",
            "the resource id of a subnet: use /subscriptions/…/subnets/…",
        ),
    ] = Field("", description="Resource id of a subnet for the nodes. Empty: no subnet.")
    public_ip: Literal["batch", "none"] = Field(
        "batch",
        description="Public addresses of nodes: assigned by Batch, or none (requires a subnet).",
    )

    @property
    def has_own_image(self) -> bool:
        return self.image.startswith("/")

    @property
    def family(self) -> str:
        """The family of an image that is not the user's own."""
        return self.image.partition("-")[0]

    @model_validator(mode="after")
    def _check_image(self) -> Self:
        if self.has_own_image != bool(self.agent):
            raise ValueError(
                "node.agent is required if node.image is a resource id, and not allowed otherwise"
            )
        if self.ffmpeg == "apt" and not self.has_own_image and self.family not in APT_FAMILIES:
            raise ValueError(
                f"{self.image} has no apt: set node.ffmpeg to 'image' or to az://container/blob"
            )
        if self.public_ip == "none" and not self.subnet_id:
            raise ValueError("nodes without public addresses require a subnet: set node.subnet_id")
        return self


class Limits(Parameters):
    """Deadline, retries, and limits on uploads, waiting and node hours."""

    deadline_minutes: int = Field(
        30,
        ge=1,
        le=7 * 24 * 60 - 120,
        description="Stop the run after this many minutes, finished or not.",
    )
    retries: int = Field(
        1, ge=0, le=10, description="Number of retries after ffmpeg crashes or is killed."
    )
    wave_files: int = Field(
        400,
        ge=1,
        le=1000,
        description="Maximum number of files uploaded and submitted together. The first waves are"
        " smaller, and so are waves over a slow connection.",
    )
    uploads_at_once: int = Field(8, ge=1, le=64, description="Number of parallel uploads.")
    lock_wait_seconds: int = Field(
        90,
        ge=0,
        le=86400,
        description="Seconds to wait for another run that converts into the same folder, or into"
        " one around or inside it.",
    )
    role_wait_minutes: Minutes = Field(
        10,
        description="Wait up to this many minutes for a missing role, because a new role takes"
        " minutes to take effect. 0: do not wait.",
    )
    max_node_hours: Amount = Field(
        0, description="Start no more conversions after this many node hours. 0: no limit."
    )
    price_per_node_hour: Amount = Field(
        0, description="Price of one node hour, in your currency, for cost estimates."
    )


class Cleanup(Parameters):
    """What the run deletes when it ends."""

    container: ContainerName = Field(
        "input",
        description="Blob container for uploads. Logs go to the container of this name with -logs.",
    )
    inputs: Keep = Field(
        "delete", description="Delete or keep uploads and logs. Interrupted runs always keep them."
    )
    job: Keep = Field("delete", description="Delete or keep the Batch job and its tasks.")
    pool: Keep = Field(
        "delete", description="Delete or keep the run's own pool. A kept pool has no nodes."
    )


class Request(Parameters):
    """All parameters of one run."""

    sources: list[str] = Field(description="Files, folders, globs or az://container/prefix.")
    exclude: list[str] = Field(
        [],
        description="Globs of sources to leave out, such as '*.part.mp4' or 'drafts/**'.",
    )
    output: Output = Output()
    run: Run = Run()
    pool: Pool = Pool()
    node: Node = Node()
    limits: Limits = Limits()
    cleanup: Cleanup = Cleanup()
