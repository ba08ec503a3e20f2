"""The images that the service lists. Every node runs on this machine, whatever its image."""

from typing import Any

from local_azure.batch.error_codes import invalid_property, not_supported
from local_azure.batch.specs import VirtualMachine


def _image(  # noqa: PLR0913  a row of the table
    publisher: str,
    offer: str,
    sku: str,
    *,
    agent: str,
    os_type: str = "linux",
    verification: str = "verified",
    end_of_life: str | None = None,
) -> dict[str, Any]:
    reference = {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"}
    image: dict[str, Any] = {
        "nodeAgentSKUId": agent,
        "imageReference": reference,
        "osType": os_type,
        "capabilities": [],
        "verificationType": verification,
    }
    return image | ({"batchSupportEndOfLife": end_of_life} if end_of_life else {})


UBUNTU_24 = "batch.node.ubuntu 24.04"
UBUNTU_22 = "batch.node.ubuntu 22.04"

SUPPORTED: tuple[dict[str, Any], ...] = (
    _image(
        "canonical",
        "0001-com-ubuntu-server-jammy",
        "22_04-lts",
        agent=UBUNTU_22,
        end_of_life="2027-06-30T00:00:00Z",
    ),
    _image("canonical", "ubuntu-24_04-lts", "server", agent=UBUNTU_24),
    # Announced for Batch in May 2026: Azure/Batch #200.
    _image("canonical", "ubuntu-26_04-lts", "server", agent="batch.node.ubuntu 26.04"),
    _image("canonical", "ubuntu-24_04-lts", "server-gen1", agent=UBUNTU_24),
    _image("canonical", "ubuntu-24_04-lts", "server-arm64", agent=UBUNTU_24),
    _image("microsoft-dsvm", "ubuntu-hpc", "2404", agent=UBUNTU_24),
    _image("almalinux", "almalinux-x86_64", "9-gen1", agent="batch.node.el 9"),
    _image("almalinux", "almalinux-x86_64", "9-gen2", agent="batch.node.el 9"),
    _image("debian", "debian-12", "12-gen2", agent="batch.node.debian 12"),
    _image("debian", "debian-13", "13", agent="batch.node.debian 13", verification="unverified"),
    _image(
        "microsoftwindowsserver",
        "windowsserver",
        "2022-datacenter",
        agent="batch.node.windows amd64",
        os_type="windows",
    ),
)


def is_windows(machine: VirtualMachine) -> bool:
    """Return whether the image runs Windows, listed or not: Azure's list changes every month."""
    agent, publisher = machine.node_agent_sku_id, machine.image_reference.publisher or ""
    return agent.lower().startswith("batch.node.windows") or (
        publisher.lower().startswith("microsoftwindows")
    )


def check(machine: VirtualMachine) -> None:
    """Refuse images that are not listed, custom images and Windows."""
    reference = machine.image_reference
    if reference.virtual_machine_image_id or reference.shared_gallery_image_id:
        raise not_supported("a custom image in the property 'imageReference'")
    if is_windows(machine):
        raise not_supported("a Windows image in the property 'imageReference'")
    wanted = (reference.publisher, reference.offer, reference.sku, machine.node_agent_sku_id)
    for image in SUPPORTED:
        offered = image["imageReference"]
        known = (offered["publisher"], offered["offer"], offered["sku"], image["nodeAgentSKUId"])
        if [str(part).lower() for part in wanted] == [str(part).lower() for part in known]:
            return
    raise invalid_property(
        "virtualMachineConfiguration",
        " / ".join(str(part) for part in wanted),
        "There is no such image with this node agent. See /supportedimages",
    )
