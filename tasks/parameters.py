"""A run's parameters: flags of the command, fields of Prefect's form, keys of prefect.yaml.

Several small models, each with all its defaults: an override of one field then leaves the others
alone, and each becomes a box in the form. Empty strings mean "none": optional types become tabs.
"""

import re
from typing import Annotated, Any, Literal, Self

from cyclopts import Parameter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from tasks.media.presets import Preset, PresetName, presets_for


def _spelled(pattern: str, rule: str) -> tuple[AfterValidator, Any]:
    """A text of that pattern, which Prefect's form checks as well. The rule is for people."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"{text!r} is not {rule}")

    return AfterValidator(check), Field(json_schema_extra={"pattern": pattern})


ContainerName = Annotated[
    str,
    Field(min_length=3, max_length=63),
    *_spelled(
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        "the name of a container: small letters and digits, with single hyphens between them",
    ),
]
BlockName = Annotated[
    str,
    Field(max_length=255),
    *_spelled(r"^[a-z0-9-]*$", "the name of a block: small letters, digits and hyphens"),
    Parameter(metavar="NAME", show_default=False),
]


def _split(words: Any) -> Any:
    if isinstance(words, list | tuple) and all(isinstance(word, str) for word in words):
        return [part for word in words for part in word.split()]
    return words


def _listed(words: Any) -> Any:
    return [words] if isinstance(words, str) else words


def _without_repeats(presets: list[PresetName]) -> list[PresetName]:
    for preset in presets:
        if presets.count(preset) > 1:
            raise ValueError(f"preset {preset!r} is named twice")
    return presets


def _without_dots(path: str) -> str:
    if {".", ".."}.intersection(path.split("/")):
        raise ValueError("a folder in a container cannot be '.' or '..'")
    return path


# On the command line, a flag for each; in Python, one may stand without a list.
Presets = Annotated[
    list[PresetName],
    BeforeValidator(_listed),
    AfterValidator(_without_repeats),
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    Parameter(name="--preset", show_default=", ".join),
]
# On the command line, options are one word of the shell's, and begin with a dash.
Options = Annotated[
    list[str],
    BeforeValidator(_split),
    Parameter(allow_leading_hyphen=True, metavar="WORDS", show_default=False),
]
Folder = Annotated[str, Parameter(metavar="DIR", show_default=False)]
File = Annotated[str, Parameter(metavar="FILE", show_default=False)]
Name = Annotated[str, Parameter(metavar="NAME", show_default=False)]
Switch = Annotated[bool, Parameter(show_default=False)]
Keep = Literal["delete", "keep"]
APT_FAMILIES = ("ubuntu", "debian")
LEAST_WARM_MINUTES = 10  # two of Batch's looks at a pool's formula


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(Parameters):
    """What is made, and where it goes."""

    presets: Presets = Field(["mp3"], description="The formats to convert to, one or more.")
    options: Options = Field(
        [],
        description="Further ffmpeg options, such as '-ar 44100': codecs, rates, channels, quality"
        " and filters without files.",
    )
    container: ContainerName = Field(
        "output", description="The blob container that receives the converted files."
    )
    prefix: Annotated[
        Folder,
        AfterValidator(_without_dots),
        *_spelled(
            r"^([^/\\\x00-\x1f]+/)*[^/\\\x00-\x1f]*$",
            "a folder in a container: names with single slashes between them, none of them before"
            " the first, and no backslash",
        ),
    ] = Field(
        "",
        max_length=200,
        description="A folder inside the output container.",
    )
    download_to: Folder = Field(
        "", description="A local folder to download the converted files to. Empty: no download."
    )
    report: File = Field("", description="A JSON file for the report on every source.")

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        presets_for(self.presets, self.options)
        return self

    @property
    def chosen(self) -> tuple[Preset, ...]:
        """The presets of the run, with the user's options in them."""
        return presets_for(self.presets, self.options)


class Run(Parameters):
    """What this run does with what is there already."""

    dry_run: Switch = Field(default=False, description="Say what would be done, and touch nothing.")
    force: Switch = Field(
        default=False, description="Convert again what has been converted already."
    )
    account: BlockName = Field(
        "",
        description="A Prefect block of type Azure accounts to take the accounts from. Empty: the"
        " environment.",
    )


class Pool(Parameters):
    """The machines that convert."""

    id: Annotated[
        Name, *_spelled(r"^[A-Za-z0-9_-]*$", "the id of a pool: letters, digits, hyphens and _")
    ] = Field(
        "",
        max_length=64,
        description="A shared pool that is there already. Empty: a pool of the run's own.",
    )
    identity: Annotated[
        Name,
        *_spelled(
            r"(?i)^(/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
            r"/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+)?$",
            "the resource id of a managed identity: /subscriptions/…/resourceGroups/…/providers"
            "/Microsoft.ManagedIdentity/userAssignedIdentities/…",
        ),
    ] = Field(
        "",
        description="The managed identity of the shared pool, by its resource id, through which"
        " nodes reach blobs. Empty: by SAS tokens.",
    )
    vm_size: str = Field(
        "Standard_D2ds_v5", min_length=1, description="The Azure VM size of a node."
    )
    spot_nodes: int = Field(
        5, ge=0, le=1000, description="Spot nodes at most: cheap, can be evicted."
    )
    dedicated_nodes: int = Field(0, ge=0, le=1000, description="Dedicated nodes at most.")
    priority: int = Field(
        0, ge=-1000, le=1000, description="Of the job, among those that share a pool."
    )
    slots_per_node: int = Field(
        2, ge=1, le=256, description="Files that a node converts at once: one a vCPU is right."
    )
    fallback_minutes: int = Field(
        0,
        ge=0,
        le=24 * 60,
        description="After so long without a Spot node, dedicated ones stand in. 0: never.",
    )
    keep_warm_minutes: int = Field(
        0,
        ge=0,
        le=24 * 60,
        description="Share a pool with later runs of the same parameters, which loses its last"
        " node so long after its last file. 0: a pool for this run alone.",
    )

    @model_validator(mode="after")
    def _check_nodes(self) -> Self:
        if not (self.id or self.spot_nodes or self.dedicated_nodes):
            raise ValueError("a pool needs nodes: set spot_nodes or dedicated_nodes")
        if self.keep_warm_minutes and self.keep_warm_minutes < LEAST_WARM_MINUTES:
            raise ValueError(
                f"keep_warm_minutes is 0 or at least {LEAST_WARM_MINUTES}: Batch looks every five"
            )
        if self.id and (self.keep_warm_minutes or self.fallback_minutes):
            raise ValueError(
                "the pool that id names scales itself: leave out keep_warm_minutes"
                " and fallback_minutes"
            )
        return self

    @model_validator(mode="after")
    def _check_identity(self) -> Self:
        if self.identity and not self.id:
            raise ValueError(
                "Batch gives no identity to a pool that a run makes: name a pool that has it by id"
            )
        return self


class Node(Parameters):
    """What each machine of the run's pool is made of; a shared pool has its own."""

    image: Annotated[
        str,
        Parameter(metavar="NAME"),
        *_spelled(
            r"^([a-z]+|/subscriptions/\S+)$",
            "a family of images, such as ubuntu, nor the resource id of one: /subscriptions/…",
        ),
    ] = Field(
        "ubuntu",
        description="The newest verified release of a family (ubuntu, debian, almalinux, …), or the"
        " resource id of an image of your own.",
    )
    agent: Annotated[
        Name, *_spelled(r"^(batch\.node\..+)?$", "a node agent, such as 'batch.node.el 9'")
    ] = Field(
        "",
        description="The node agent of an image of your own, such as 'batch.node.el 9'.",
    )
    ffmpeg: Annotated[
        str,
        Parameter(metavar="WORD"),
        *_spelled(
            r"^(apt|image|az://[a-z0-9-]{3,63}/.+)$", "'apt', 'image' or an az://container/blob"
        ),
    ] = Field(
        "apt",
        description="apt installs it, the image has it, or az://container/blob is the program.",
    )
    fill: Literal["spread", "pack"] = Field(
        "spread", description="Files over all nodes, or onto as few as hold them."
    )
    subnet_id: Annotated[
        Name,
        *_spelled(
            r"^(/subscriptions/\S+/subnets/\S+)?$",
            "the resource id of a subnet: /subscriptions/…/subnets/…",
        ),
    ] = Field(
        "",
        description="The resource id of a subnet that nodes join.",
    )
    public_ip: Literal["batch", "none"] = Field(
        "batch", description="Public addresses of nodes; without any they need a subnet."
    )

    @property
    def has_own_image(self) -> bool:
        return self.image.startswith("/")

    @model_validator(mode="after")
    def _check_image(self) -> Self:
        if self.has_own_image != bool(self.agent):
            raise ValueError("an image's resource id and its node agent belong together")
        if self.ffmpeg == "apt" and not self.has_own_image and self.image not in APT_FAMILIES:
            raise ValueError(
                f"{self.image} has no apt: set ffmpeg to 'image' or to az://container/blob"
            )
        if self.public_ip == "none" and not self.subnet_id:
            raise ValueError("nodes without public addresses need a subnet_id")
        return self


class Limits(Parameters):
    """When to stop, and how often to try."""

    deadline_minutes: int = Field(
        30, ge=1, le=7 * 24 * 60 - 120, description="The run ends after this time, done or not."
    )
    retries: int = Field(1, ge=0, le=10, description="Further tries for a file that fails.")
    wave_files: int = Field(
        400,
        ge=1,
        le=1000,
        description="Files uploaded and submitted together, at most; fewer at first, and on a slow"
        " line.",
    )
    uploads_at_once: int = Field(8, ge=1, le=64, description="Files uploaded at the same time.")
    lock_wait_seconds: int = Field(
        90,
        ge=0,
        le=86400,
        description="How long to wait for another run that converts into the same output.",
    )
    max_node_hours: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Start nothing new once so many hours of nodes are used. 0: no limit.",
    )
    price_per_node_hour: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="What a node costs you in an hour, in your currency: for what runs cost.",
    )


class Cleanup(Parameters):
    """What becomes of what the run made, once it is over."""

    container: ContainerName = Field(
        "input", description="The blob container for uploads and logs while the run lasts."
    )
    inputs: Keep = Field(
        "delete", description="Uploaded sources and logs; after an interruption they always stay."
    )
    job: Keep = Field("delete", description="The Batch job with its tasks.")
    pool: Keep = Field("delete", description="The run's own pool; kept, it has no nodes left.")


class Request(Parameters):
    """All parameters of a run."""

    sources: list[str] = Field(description="Files, folders, globs or az://container/prefix.")
    output: Output = Output()
    run: Run = Run()
    pool: Pool = Pool()
    node: Node = Node()
    limits: Limits = Limits()
    cleanup: Cleanup = Cleanup()
