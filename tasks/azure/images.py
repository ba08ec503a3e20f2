"""The image of the nodes, chosen from those that Batch offers now: fixed names go out of date."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from azure.batch import models

from tasks.errors import PoolError
from tasks.parameters import Node

IMAGE_MARGIN = timedelta(days=30)  # an image is not used if its support ends sooner
# The releases that the project supports: its tests run on Debian 12, and with versions of ffmpeg
# around those of Ubuntu (4.4 and 6.1). A later release is used by its name only, or when Batch
# supports none of these any more. Ubuntu 26.04 is coming: Azure/Batch #200.
TESTED = {"ubuntu": ("22.04", "24.04"), "debian": ("12",)}
LTS = re.compile(r"\b\d[02468]\.04\b")  # Ubuntu's releases of April in even years
# Images for another processor or another purpose, or not yet released.
SPECIAL = re.compile(
    r"arm64|aarch64|hpc|container|rdma|cvm|confidential|dsvm|minimal|daily|preview"
)


def vm_configuration(
    node: Node,
    images: Iterable[models.BatchSupportedImage],
    *,
    now: datetime,
    until: datetime,
) -> models.VirtualMachineConfiguration:
    """Return the image and node agent of the nodes.

    Raises:
        PoolError: Batch offers no image of the family.
    """
    if node.has_own_image:
        reference = models.BatchVmImageReference(virtual_machine_image_id=node.image)
        agent = node.agent
    else:
        image = choose_image(images, node.image, now=now, until=until)
        reference, agent = image.image_reference, image.node_agent_sku_id
    return models.VirtualMachineConfiguration(image_reference=reference, node_agent_sku_id=agent)


def choose_image(
    images: Iterable[models.BatchSupportedImage], name: str, *, now: datetime, until: datetime
) -> models.BatchSupportedImage:
    """Return the newest image that fits a family such as ubuntu, or a release as ubuntu-24.04.

    Of a family, releases that the project has tested come first.

    Raises:
        PoolError: Batch offers no such image that it has verified and supports long enough.
    """
    family, _, release = name.partition("-")
    last_day = max(now + IMAGE_MARGIN, until)
    offered = list(images)
    fitting = [image for image in offered if fits(image, family, last_day=last_day)]
    if not fitting:
        general = [image for image in offered if is_general(image, last_day=last_day)]
        families = ", ".join(sorted({family_of(image) for image in general}))
        raise PoolError(
            f"Azure Batch offers no verified {family.title()} image in this region.",
            f"Set node.image to a family that it offers ({families or 'none'}), or to the resource"
            " id of your own image.",
        )
    wanted = [release] if release else TESTED.get(family, ())
    chosen = [image for image in fitting if release_of(image.node_agent_sku_id) in wanted]
    if release and not chosen:
        releases = sorted({release_of(image.node_agent_sku_id) for image in fitting})
        raise PoolError(
            f"Azure Batch offers no verified image of {family.title()} {release} in this region.",
            f"Set node.image to {' or '.join(f'{family}-{known}' for known in releases)}.",
        )
    return max(chosen or fitting, key=release_and_generation)


def is_tested(machine: models.VirtualMachineConfiguration, family: str) -> bool:
    """Return whether the project has been tested with the image's release."""
    return release_of(machine.node_agent_sku_id) in TESTED.get(family, ())


def fits(image: models.BatchSupportedImage, family: str, *, last_day: datetime) -> bool:
    is_release = family != "ubuntu" or bool(LTS.search(image.node_agent_sku_id))
    return family_of(image) == family and is_release and is_general(image, last_day=last_day)


def is_general(image: models.BatchSupportedImage, *, last_day: datetime) -> bool:
    """Return whether it is a plain Linux for x64, verified by Batch and supported on that day."""
    ends = image.batch_support_end_of_life
    return (
        image.os_type == models.OSType.LINUX
        and image.verification_type == models.ImageVerificationType.VERIFIED
        and not SPECIAL.search(full_name(image))
        and not (ends and ends < last_day)
    )


def full_name(image: models.BatchSupportedImage) -> str:
    reference = image.image_reference
    return f"{reference.publisher}/{reference.offer}/{reference.sku}".lower()


def family_of(image: models.BatchSupportedImage) -> str:
    """Return the family that the offer names, such as ubuntu of `0001-com-ubuntu-server-jammy`."""
    parts = re.findall(r"[a-z]+", (image.image_reference.offer or "").lower())
    return next((part for part in parts if part not in ("com", "x")), "")


def release_of(agent: str) -> str:
    """Return the release that a node agent is for, such as 24.04 of `batch.node.ubuntu 24.04`."""
    found = re.search(r"\d[\d.]*$", agent)
    return found[0] if found else ""


def release_and_generation(image: models.BatchSupportedImage) -> tuple[list[int], bool, str]:
    """Return a sort key: the newest release last, and generation 2, which all VM sizes support."""
    release = [int(number) for number in release_of(image.node_agent_sku_id).split(".") if number]
    sku = image.image_reference.sku or ""
    return release, not sku.endswith("gen1"), sku
