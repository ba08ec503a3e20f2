"""Values in the bodies of requests: numbers and booleans can also be texts."""

from typing import Any

import pytest

from lab import Lab, unique
from local_azure.batch import specs, wire
from local_azure.batch.error_codes import BatchError

IMAGE = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
MACHINE = {"imageReference": IMAGE, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}
SIZE = {"vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": MACHINE}


def pool(**properties: Any) -> specs.PoolSpec:
    return wire.parse({"id": "pool", **SIZE, **properties}, specs.PoolSpec)


@pytest.mark.parametrize("text", ["2", " 2 ", "+2", "02"])
def test_a_number_can_be_a_text(text: str) -> None:
    assert pool(targetDedicatedNodes=text).target_dedicated_nodes == 2


@pytest.mark.parametrize(
    "value", ["", "two", "2.0", "1e1", "\u0662", "2 2", "9" * 11, 2.0, True, []]
)
def test_a_value_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(BatchError, match="InvalidPropertyValue"):
        pool(targetDedicatedNodes=value)


@pytest.mark.parametrize("text", ["-1", "10001"])
def test_a_number_in_a_text_has_the_limits_of_a_number(text: str) -> None:
    with pytest.raises(BatchError, match="InvalidPropertyValue"):
        pool(targetDedicatedNodes=text)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), (" FALSE ", False)])
def test_a_boolean_can_be_a_text(text: str, *, value: bool) -> None:
    assert pool(enableAutoScale=text).enable_auto_scale is value


@pytest.mark.parametrize("value", ["", "yes", "1", 1])
def test_a_value_that_is_no_boolean_is_refused(value: object) -> None:
    with pytest.raises(BatchError, match="InvalidPropertyValue"):
        pool(enableAutoScale=value)


def test_a_refused_property_can_be_false_in_a_text() -> None:
    assert pool(enableInterNodeCommunication="False").id == "pool"
    with pytest.raises(BatchError, match="enableInterNodeCommunication"):
        pool(enableInterNodeCommunication="true")


def test_a_pool_is_created_and_resized_as_the_azure_cli_asks_for_it(lab: Lab) -> None:
    pool_id = unique("pool")
    body = {"id": pool_id, **SIZE, "targetDedicatedNodes": "1", "taskSlotsPerNode": "2"}
    assert lab.send("POST", "/pools", json=body).status_code == 201
    lab.nodes(pool_id, count=1)
    assert lab.client.get_pool(pool_id).task_slots_per_node == 2
    change = {"targetDedicatedNodes": "2"}
    assert lab.send("POST", f"/pools/{pool_id}/resize", json=change).status_code == 202
    lab.nodes(pool_id, count=2)
