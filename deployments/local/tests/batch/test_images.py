"""Which images a pool can have."""

import pytest

from local_azure.batch import images
from local_azure.batch.error_codes import BatchError
from local_azure.batch.specs import ImageReference, VirtualMachine


def machine(words: str, agent: str) -> VirtualMachine:
    publisher, offer, sku = words.split()
    image = ImageReference(publisher=publisher, offer=offer, sku=sku)
    return VirtualMachine(imageReference=image, nodeAgentSKUId=agent)


def test_a_listed_linux_image_is_accepted() -> None:
    images.check(machine("Canonical ubuntu-24_04-lts server", "batch.node.ubuntu 24.04"))


@pytest.mark.parametrize(
    ("words", "agent"),
    [
        ("microsoftwindowsserver windowsserver 2022-datacenter", "batch.node.windows amd64"),
        ("MicrosoftWindowsServer WindowsServer 2019-datacenter-core", "batch.node.windows amd64"),
        ("microsoft-dsvm dsvm-win-2022 winserver-2022", "batch.node.windows amd64"),
        ("MicrosoftWindowsDesktop windows-11 win11-24h2-pro", "batch.node.unknown"),
    ],
)
def test_a_windows_image_is_not_supported_whether_it_is_listed_or_not(
    words: str, agent: str
) -> None:
    with pytest.raises(BatchError, match=r"NotImplemented.*Windows image.*imageReference"):
        images.check(machine(words, agent))


@pytest.mark.parametrize("words", ["canonical ubuntu-24_04-lts none", "none none none"])
def test_an_image_that_is_not_listed_is_invalid(words: str) -> None:
    with pytest.raises(BatchError, match="InvalidPropertyValue"):
        images.check(machine(words, "batch.node.ubuntu 24.04"))
