"""What the service does not support is logged with its property."""

import logging
from typing import Any

import pytest

from lab import Lab

POOL = {"id": "p", "vmSize": "STANDARD_D2S_V3"}
UBUNTU = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
WINDOWS = {"publisher": "MicrosoftWindowsServer", "offer": "WindowsServer", "sku": "2022"}
AGENT = "batch.node.ubuntu 24.04"


def machine(image: dict[str, str], **properties: Any) -> dict[str, Any]:
    given = {"imageReference": image, "nodeAgentSKUId": AGENT, **properties}
    return POOL | {"virtualMachineConfiguration": given}


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/pools", machine(UBUNTU) | {"mountConfiguration": [{}]}, "mountConfiguration"),
        ("/pools", machine(UBUNTU, dataDisks=[{}]), "dataDisks"),
        ("/pools", machine(WINDOWS), "a Windows image in the property 'imageReference'"),
        ("/pools", machine({"virtualMachineImageId": "/x"}), "a custom image in the property"),
        ("/pools", POOL | {"cloudServiceConfiguration": {"osFamily": "6"}}, "cloudService"),
        ("/jobs", {"id": "j", "usesTaskDependencies": True}, "usesTaskDependencies"),
    ],
)
def test_an_unsupported_property_is_refused_and_logged_by_name(
    lab: Lab, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any], name: str
) -> None:
    assert lab.refused("POST", path, json=body) == (501, "NotImplemented")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith(f"POST {path} refused: NotImplemented")
    assert name in record.message


def test_an_unsupported_property_of_a_task_in_a_collection_is_logged_too(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = lab.job("none")
    tasks = [{"id": "t", "commandLine": "true", "containerSettings": {"imageName": "x"}}]
    path = f"/jobs/{job_id}/addtaskcollection"
    (added,) = lab.send("POST", path, json={"value": tasks}).json()["value"]
    assert added["error"]["code"] == "NotImplemented"
    assert f"POST {path} refused: NotImplemented" in caplog.text
    assert "containerSettings" in caplog.text


def test_a_refusal_that_azure_gives_too_is_no_warning(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="local_azure")
    assert lab.send("GET", "/pools/none").status_code == 404
    (record,) = [each for each in caplog.records if each.name.startswith("local_azure")]
    assert (record.levelno, "PoolNotFound" in record.message) == (logging.INFO, True)


def test_a_path_cannot_break_the_line_of_the_log(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    assert lab.send("GET", "/none%0AERROR").status_code == 501
    assert "GET /none%0AERROR refused" in caplog.text
    assert "\nERROR" not in caplog.text
