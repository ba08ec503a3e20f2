"""Reads of what the account never has."""

import pytest

from lab import Lab


@pytest.mark.parametrize(
    "path",
    [
        "/applications",
        "/certificates?$select=thumbprint&$filter=state eq 'active'",
        "/jobschedules?$expand=stats&maxresults=10&$select=id,stats",
        "/poolusagemetrics",
        "/poolusagemetrics?startTime=2026-11-22T00:00:00Z&endTime=2026-11-23T00:00:00Z",
        "/poolusagemetrics?$filter=poolId eq 'p'",
    ],
)
def test_a_listing_of_what_the_account_never_has_is_empty(lab: Lab, path: str) -> None:
    answer = lab.send("GET", path)
    assert (answer.status_code, answer.json()["value"]) == (200, [])


@pytest.mark.parametrize("query", ["$filter=((", "$select=colour", "maxresults=0"])
def test_an_empty_listing_refuses_what_another_listing_refuses(lab: Lab, query: str) -> None:
    answer = lab.refused("GET", f"/jobschedules?{query}")
    assert answer == (400, "InvalidQueryParameterValue")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/applications/a", "ApplicationNotFound"),
        ("/jobschedules/s", "JobScheduleNotFound"),
        ("/jobschedules/s/jobs", "JobScheduleNotFound"),
    ],
)
def test_what_the_account_never_has_is_not_found(lab: Lab, path: str, code: str) -> None:
    assert lab.refused("GET", path) == (404, code)


def test_no_job_schedule_exists(lab: Lab) -> None:
    assert lab.send("HEAD", "/jobschedules/s").status_code == 404


def test_the_present_client_reads_them(lab: Lab) -> None:
    assert list(lab.client.list_applications()) == []
    assert list(lab.client.list_job_schedules(expand=["stats"])) == []
    assert list(lab.client.list_pool_usage_metrics()) == []
