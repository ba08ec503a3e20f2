"""The live page's data, who gets it, and the health of the service."""

import re
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError

from lab import KEY, FaultOrders, Lab, NewLab, shell, until
from local_azure.batch.recent_refusals import MOST_REFUSALS
from local_azure.page_link import page_link

PATHS = ["/_local/", "/_local/health", "/_local/overview"]


def secret_of(url: str) -> str:
    return page_link(url, KEY).partition("#")[2]


def overview(lab: Lab) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {secret_of(lab.url)}"}
    answer = httpx.get(f"{lab.url}/_local/overview", headers=headers)
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.json()
    return shown


def pool_of(lab: Lab, pool_id: str) -> dict[str, Any]:
    return next(pool for pool in overview(lab)["pools"] if pool["id"] == pool_id)


def refusals_of(lab: Lab, operation: str) -> list[dict[str, Any]]:
    return [each for each in overview(lab)["refusals"] if each["operation"] == operation]


def test_the_health_is_answered_without_a_signature(lab: Lab) -> None:
    answer = httpx.get(f"{lab.url}/_local/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "version": version("local-azure")}
    assert httpx.head(f"{lab.url}/_local/health").status_code == 200


def test_the_page_loads_nothing_from_elsewhere_and_has_no_secret(lab: Lab) -> None:
    page = httpx.get(f"{lab.url}/_local/")
    assert page.status_code == 200
    assert re.findall(r"https?://[^']+", page.text) == ["http://www.w3.org/2000/svg"]
    assert secret_of(lab.url) not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"SharedKey localbatch:{KEY}", "Bearer é"]
)
def test_the_data_is_refused_without_the_secret_of_the_link(lab: Lab, given: str) -> None:
    headers = {"Authorization": given.encode()}
    answer = httpx.get(f"{lab.url}/_local/overview", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "AuthenticationFailed")
    queried = httpx.get(f"{lab.url}/_local/overview?token={secret_of(lab.url)}")
    assert queried.status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_another_host_name_than_loopback_is_refused(lab: Lab, path: str) -> None:
    headers = {"Host": "rebound.example", "Authorization": f"Bearer {secret_of(lab.url)}"}
    answer = httpx.get(lab.url + path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidHeaderValue")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_page_can_only_be_read(lab: Lab, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {secret_of(lab.url)}"}
    assert httpx.request(method, lab.url + path, headers=headers).status_code == 403


def test_the_secret_opens_nothing_else(lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {secret_of(lab.url)}"}
    for path in ("/pools", "/_local/faults"):
        answer = httpx.get(f"{lab.url}{path}?api-version=2025-06-01", headers=headers)
        assert answer.status_code == 403


def test_pools_are_shown_with_their_nodes_and_tasks(lab: Lab) -> None:
    pool = lab.pool(nodes=2, task_slots_per_node=2, display_name="Talks")
    job = lab.job(pool)
    task = lab.task(job, "sleep 60")
    lab.state(job, task, "running")
    shown = pool_of(lab, pool)
    assert (shown["name"], shown["spot"], shown["dedicated"]) == ("Talks", 2, 0)
    busy, idle = sorted(shown["nodes"], key=lambda node: -node["used"])
    assert (busy["state"], busy["used"], busy["slots"]) == ("running", 1, 2)
    assert busy["tasks"] == [f"{job}/{task}"]
    assert (idle["state"], idle["tasks"], idle["isDedicated"]) == ("idle", [], False)


def test_an_evicted_node_is_shown_even_if_it_is_back(lab: Lab, faults: FaultOrders) -> None:
    pool = lab.pool()
    job = lab.job(pool)
    faults.order("evict", task="work", times=1)
    lab.task(job, "sleep 60", id="work")
    loss = until(lambda: pool_of(lab, pool)["losses"])[0]
    node = pool_of(lab, pool)["nodes"][0]["id"]
    assert (loss["node"], loss["state"], loss["tasks"]) == (node, "preempted", 1)


def test_jobs_are_shown_with_counts_and_failed_tasks(lab: Lab, pool: str) -> None:
    job = lab.job(pool)
    lab.completed(job, lab.task(job, "exit 3"))
    lab.completed(job, lab.task(job, "true", id="good"))
    lab.completed(job, lab.task(job, "true", id="deleted"))
    lab.client.delete_task(job, "deleted")
    shown = overview(lab)
    counts = next(each for each in shown["jobs"] if each["id"] == job)["counts"]
    assert counts == {"active": 0, "running": 0, "completed": 2, "succeeded": 1, "failed": 1}
    assert [task["exitCode"] for task in shown["failedTasks"] if task["job"] == job] == [3]
    recent = [task["id"] for task in shown["recentTasks"] if task["job"] == job]
    assert recent[0] == "good"
    assert len(recent) == 2


def test_a_failed_task_that_is_reactivated_and_succeeds_is_no_failure(lab: Lab, pool: str) -> None:
    job = lab.job(pool)
    task = lab.task(job, 'test -e "$AZ_BATCH_NODE_SHARED_DIR/again"')
    lab.completed(job, task)
    node = lab.client.get_task(job, task).node_info
    assert node
    lab.run(pool, 'touch "$AZ_BATCH_NODE_SHARED_DIR/again"')
    lab.client.reactivate_task(job, task)
    until(lambda: lab.client.get_task(job, task).execution_info.exit_code == 0)  # type: ignore[union-attr]
    assert [each for each in overview(lab)["failedTasks"] if each["job"] == job] == []


def test_refusals_are_shown_with_their_property_and_counted(lab: Lab) -> None:
    for _ in range(3):
        with pytest.raises(HttpResponseError):
            lab.client.create_job({"id": "refused", "poolInfo": {}, "usesTaskDependencies": True})
    shown = refusals_of(lab, "POST /jobs")[0]
    assert (shown["status"], shown["code"]) == (501, "NotImplemented")
    assert "usesTaskDependencies" in shown["reason"]
    assert shown["count"] >= 3


def test_a_refused_task_of_a_collection_is_shown(lab: Lab, pool: str) -> None:
    job = lab.job(pool)
    task = {"id": "work", "commandLine": shell("true"), "dependsOn": {"taskIds": ["x"]}}
    body = {"value": [task]}
    assert lab.send("POST", f"/jobs/{job}/addtaskcollection", json=body).status_code == 200
    shown = refusals_of(lab, f"POST /jobs/{job}/addtaskcollection")[0]
    assert (shown["status"], shown["count"]) == (501, 1)
    assert "dependsOn" in shown["reason"]


def test_refused_values_which_may_be_secrets_are_not_shown(lab: Lab) -> None:
    assert lab.refused("GET", "/pools?maxresults=canary")[0] == 400
    shown = refusals_of(lab, "GET /pools")[0]
    assert shown["reason"].startswith("maxresults: It must be between")
    assert "canary" not in str(overview(lab))


def test_a_hostile_path_does_not_break_the_overview(lab: Lab) -> None:
    assert lab.send("GET", "/%ff%ed%a0%80%00%3Cimg%3E").status_code >= 400
    assert any("<img>" in each["operation"] for each in overview(lab)["refusals"])


def test_only_the_latest_refusals_are_kept(new_lab: NewLab) -> None:
    lab = new_lab()
    for number in range(MOST_REFUSALS + 5):
        lab.send("GET", f"/jobs/none-{number}")
    shown = [each["operation"] for each in overview(lab)["refusals"]]
    assert len(shown) == MOST_REFUSALS
    assert shown[0] == f"GET /jobs/none-{MOST_REFUSALS + 4}"


def test_faults_are_shown_as_ordered_with_how_often_they_are_left(
    lab: Lab, faults: FaultOrders
) -> None:
    faults.order("answer", status=503, operation="GET /pools", times=2)
    faults.order("evict", task="x", returnSeconds=None)
    with pytest.raises(HttpResponseError):
        list(lab.client.list_pools())
    answer, evict = overview(lab)["faults"]
    assert answer["order"]["operation"] == "GET /pools"
    assert answer["left"] == 1
    assert evict == {"order": {"kind": "evict", "task": "x", "returnSeconds": None}, "left": None}


def test_a_pool_that_cannot_grow_is_shown_with_its_error(new_lab: NewLab) -> None:
    lab = new_lab(max_nodes=1)
    lab.client.create_pool(lab.pool_options("wide", target_dedicated_nodes=2))
    assert until(lambda: pool_of(lab, "wide")["errors"])[0].startswith("AccountCoreQuotaReached: ")
    assert overview(lab)["nodes"] == {"total": 1, "most": 1}
