from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from records import NOW

from tasks.azure.images import choose_image, vm_configuration
from tasks.errors import PoolError
from tasks.parameters import Node


def an_image(agent: str = "ubuntu 24.04", **values: Any) -> models.BatchSupportedImage:
    reference = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
    names = {name: values.pop(name, default) for name, default in reference.items()}
    given = {
        "node_agent_sku_id": f"batch.node.{agent}",
        "image_reference": models.BatchVmImageReference(**names),
        "os_type": models.OSType.LINUX,
        "verification_type": models.ImageVerificationType.VERIFIED,
    }
    return models.BatchSupportedImage(**(given | values))


OLD = an_image("ubuntu 22.04", offer="0001-com-ubuntu-server-jammy", sku="22_04-lts")


NEWER = an_image("ubuntu 26.04", offer="ubuntu-26_04-lts")


def test_the_newest_release_that_is_tested_is_chosen() -> None:
    new = an_image()
    assert choose_image([NEWER, new, OLD], "ubuntu", now=NOW, until=NOW) is new
    assert choose_image([new, OLD], "ubuntu", now=NOW, until=NOW) is new
    assert choose_image([OLD, new], "ubuntu", now=NOW, until=NOW) is new


def test_a_release_can_be_chosen_by_its_name() -> None:
    new = an_image()
    for release, image in (("22.04", OLD), ("24.04", new), ("26.04", NEWER)):
        chosen = choose_image([NEWER, new, OLD], f"ubuntu-{release}", now=NOW, until=NOW)
        assert chosen is image


def test_the_newest_release_is_chosen_if_batch_offers_none_that_is_tested() -> None:
    latest = an_image("ubuntu 28.04", offer="ubuntu-28_04-lts")
    assert choose_image([NEWER, latest], "ubuntu", now=NOW, until=NOW) is latest
    rocky = [an_image(f"el {number}", offer="rockylinux-x86_64") for number in (8, 9, 10)]
    assert choose_image(rocky, "rockylinux", now=NOW, until=NOW) is rocky[2]


def test_the_error_about_a_missing_release_names_the_offered_ones() -> None:
    with pytest.raises(PoolError, match=r"Ubuntu 28\.04 in .* to ubuntu-22\.04 or ubuntu-24\.04\."):
        choose_image([an_image(), OLD], "ubuntu-28.04", now=NOW, until=NOW)


@pytest.mark.parametrize(
    "unfit",
    [
        an_image("ubuntu 26.04", verification_type=models.ImageVerificationType.UNVERIFIED),
        an_image("ubuntu 26.04", os_type=models.OSType.WINDOWS),
        an_image("ubuntu 26.04", sku="server-arm64"),
        an_image("ubuntu 26.04", publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2604"),
        an_image("ubuntu 26.04", batch_support_end_of_life=NOW + timedelta(days=29)),
        an_image("ubuntu 25.04"),
        an_image("ubuntu 26.10"),
        an_image("el 9", offer="almalinux-x86_64"),
        an_image(sku="server-gen1"),
    ],
)
def test_an_image_that_does_not_fit_is_not_chosen(unfit: models.BatchSupportedImage) -> None:
    good = an_image() if (unfit.image_reference.sku or "").endswith("gen1") else OLD
    assert choose_image([unfit, good], "ubuntu", now=NOW, until=NOW) is good


def test_an_image_must_outlive_the_run() -> None:
    image = an_image(batch_support_end_of_life=NOW + timedelta(days=40))
    assert choose_image([image], "ubuntu", now=NOW, until=NOW + timedelta(days=40)) is image
    with pytest.raises(PoolError, match="no verified Ubuntu image"):
        choose_image([image], "ubuntu", now=NOW, until=NOW + timedelta(days=41))


def test_the_error_about_a_missing_family_names_the_offered_ones() -> None:
    with pytest.raises(PoolError, match=r"no verified Fedora image .* \(ubuntu\)"):
        choose_image([an_image(), OLD], "fedora", now=NOW, until=NOW)


def test_a_custom_image_is_used_with_its_node_agent() -> None:
    node = Node(image="/subscriptions/s/images/i", agent="batch.node.ubuntu 24.04")
    found = vm_configuration(node, [], now=NOW, until=NOW)
    assert found.image_reference.virtual_machine_image_id == node.image
    assert found.node_agent_sku_id == node.agent


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("ubuntu", ("ubuntu-24_04-lts", "server")),
        ("ubuntu-26.04", ("ubuntu-26_04-lts", "server")),
        ("almalinux", ("almalinux-x86_64", "9-gen2")),
        ("debian", ("debian-12", "12-gen2")),
    ],
)
def test_each_family_that_batch_offers_can_be_chosen(
    batch: BatchClient, family: str, expected: tuple[str, str]
) -> None:
    images = list(batch.list_supported_images())
    reference = choose_image(images, family, now=NOW, until=NOW).image_reference
    assert (reference.offer, reference.sku) == expected
