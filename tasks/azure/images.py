"""The image of the nodes: picked from what Batch offers now, so that no name of one rots here."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from azure.batch import models

from tasks.errors import PoolError
from tasks.parameters import Node

IMAGE_MARGIN = timedelta(days=30)  # an image that close to its end is not taken
LTS = re.compile(r"\b\d[02468]\.04\b")  # Ubuntu's: of April, in even years
# For another processor, another purpose, or not yet released.
SPECIAL = re.compile(
    r"arm64|aarch64|hpc|container|rdma|cvm|confidential|dsvm|minimal|daily|preview"
)


def machine(
    node: Node,
    images: Iterable[models.BatchSupportedImage],
    *,
    now: datetime,
    until: datetime,
) -> models.VirtualMachineConfiguration:
    """Raises PoolError where Batch offers no image of the family."""
    if node.has_own_image:
        reference = models.BatchVmImageReference(virtual_machine_image_id=node.image)
        agent = node.agent
    else:
        image = choose_image(images, node.image, now=now, until=until)
        reference, agent = image.image_reference, image.node_agent_sku_id
    return models.VirtualMachineConfiguration(image_reference=reference, node_agent_sku_id=agent)


def choose_image(
    images: Iterable[models.BatchSupportedImage], family: str, *, now: datetime, until: datetime
) -> models.BatchSupportedImage:
    """The family's newest release that Batch has verified and that does not near its end.

    Raises:
        PoolError: there is none.
    """
    last_day = max(now + IMAGE_MARGIN, until)
    offered = list(images)
    fitting = [image for image in offered if fits(image, family, last_day=last_day)]
    if not fitting:
        families = ", ".join(sorted({name(i) for i in offered if is_general(i, last_day=last_day)}))
        raise PoolError(
            f"Azure Batch offers no verified {family.title()} image in this region.",
            f"Set node.image to one of those it offers ({families or 'none'}), or to the resource"
            " id of an image of your own.",
        )
    return max(fitting, key=age_and_generation)


def fits(image: models.BatchSupportedImage, family: str, *, last_day: datetime) -> bool:
    is_release = family != "ubuntu" or bool(LTS.search(image.node_agent_sku_id))
    return name(image) == family and is_release and is_general(image, last_day=last_day)


def is_general(image: models.BatchSupportedImage, *, last_day: datetime) -> bool:
    """Whether it is a plain Linux for x64 that Batch has verified and still supports that day."""
    ends = image.batch_support_end_of_life
    return (
        image.os_type == models.OSType.LINUX
        and image.verification_type == models.ImageVerificationType.VERIFIED
        and not SPECIAL.search(words(image))
        and not (ends and ends < last_day)
    )


def words(image: models.BatchSupportedImage) -> str:
    reference = image.image_reference
    return f"{reference.publisher}/{reference.offer}/{reference.sku}".lower()


def name(image: models.BatchSupportedImage) -> str:
    """The family's: that of the offer, such as `0001-com-ubuntu-server-jammy`, in letters only."""
    parts = re.findall(r"[a-z]+", (image.image_reference.offer or "").lower())
    return next((part for part in parts if part not in ("com", "x")), "")


def age_and_generation(image: models.BatchSupportedImage) -> tuple[list[int], bool, str]:
    """Newest last; of one release, the generation of virtual machines that all sizes take."""
    release = [int(number) for number in re.findall(r"\d+", image.node_agent_sku_id)]
    sku = image.image_reference.sku or ""
    return release, not sku.endswith("gen1"), sku
