"""Versions, conditions, queries, pages, bodies and headers of all operations."""

import http.client
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from hypothesis import given
from hypothesis import strategies as st

from lab import Lab
from local_azure.batch import wire
from local_azure.batch.gate import API_VERSIONS


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10_000_000)))
def test_a_duration_comes_back_as_it_was_written(value: timedelta) -> None:
    assert wire.parse_duration(wire.format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT02H00M01.5S", timedelta(hours=2, seconds=1.5)),
        ("PT15M", timedelta(minutes=15)),
        ("P7D", timedelta(days=7)),
        ("P10675199DT2H48M5.4775807S", wire.FOREVER),
    ],
)
def test_durations_that_clients_send_are_parsed(text: str, expected: timedelta) -> None:
    assert abs(wire.parse_duration(text) - expected) < timedelta(microseconds=2)


@pytest.mark.parametrize("text", ["", "P", "PT", "1:00", "P1Y", "-PT1S", "PT1S ", "PT1,5S"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        wire.parse_duration(text)


def test_no_limit_is_formatted_as_in_azure() -> None:
    assert wire.format_duration(wire.FOREVER) == "P10675199DT2H48M5.4775807S"


@pytest.mark.parametrize("version", sorted(API_VERSIONS))
def test_every_published_version_is_accepted(lab: Lab, version: str) -> None:
    assert lab.send("GET", f"/pools?api-version={version}").status_code == 200


@pytest.mark.parametrize(
    "query", ["api-version=2030-01-01", "api-version=", "api-version=2025-06-01x"]
)
def test_any_other_version_is_refused(lab: Lab, query: str) -> None:
    assert lab.refused("GET", f"/pools?{query}") == (400, "UnsupportedRequestVersion")


@pytest.mark.parametrize(
    "query",
    [
        "$filter=state eq",
        "$filter=state is 'active'",
        "$filter=secret eq 'x'",
        "$filter=(state eq 'active'",
        "$filter=state eq active'",
        "$filter=startswith(id,3)",
        "$filter=contains(id,'x')",
        "$select=id,secret",
        "maxresults=0",
        "maxresults=1001",
        "maxresults=ten",
    ],
)
def test_an_invalid_query_clause_is_refused(lab: Lab, query: str) -> None:
    assert lab.refused("GET", f"/pools?{query}") == (400, "InvalidQueryParameterValue")


@pytest.mark.parametrize("query", ["$orderby=id", "$top=3", "$skip=1", "color=red"])
def test_an_unknown_query_parameter_is_refused(lab: Lab, query: str) -> None:
    assert lab.refused("GET", f"/pools?{query}") == (400, "UnsupportedQueryParameter")


def test_a_query_string_that_is_not_text_is_refused(lab: Lab) -> None:
    assert lab.refused("GET", "/pools?$skiptoken=%ff") == (400, "InvalidUri")


@pytest.mark.parametrize("kind", ["pools", "jobs", "tasks"])
def test_expanded_statistics_are_left_out(lab: Lab, kind: str) -> None:
    pool_id = lab.pool(nodes=0)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id)
    listing, one = {
        "pools": ("/pools", f"/pools/{pool_id}"),
        "jobs": ("/jobs", f"/jobs/{job_id}"),
        "tasks": (f"/jobs/{job_id}/tasks", f"/jobs/{job_id}/tasks/{task_id}"),
    }[kind]
    for query in ("$expand=stats", "$expand=stats&$select=id,stats"):
        (found,) = lab.send("GET", f"{listing}?{query}").json()["value"]
        read = lab.send("GET", f"{one}?{query}").json()
        assert found["id"] == read["id"]
        assert "stats" not in found | read


def test_nothing_else_than_statistics_can_be_expanded(lab: Lab) -> None:
    assert lab.refused("GET", "/pools?$expand=nodes") == (400, "InvalidQueryParameterValue")


def test_select_returns_only_the_named_properties(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    pool = lab.client.get_pool(pool_id, select=["id", "state"])
    assert {"id", "state"} == set(pool.as_dict()) - {"odata.metadata"}


def test_next_links_are_absolute(lab: Lab) -> None:
    for _ in range(2):
        lab.pool(nodes=0)
    page = lab.send("GET", "/pools?maxresults=1&$select=id").json()
    assert page["odata.nextLink"].startswith(f"{lab.url}/pools?")
    following = lab.send("GET", page["odata.nextLink"].removeprefix(lab.url)).json()
    assert following["value"] != page["value"]
    assert "odata.nextLink" not in following


def test_a_conditional_change_succeeds_once_per_etag(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    tag = lab.client.get_pool(pool_id).etag
    change = m.BatchPoolUpdateOptions(display_name="x")
    condition = {"etag": tag, "match_condition": MatchConditions.IfNotModified}
    lab.client.update_pool(pool_id, change, **condition)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.update_pool(pool_id, change, **condition)
    assert (caught.value.status_code, caught.value.error.code) == (412, "ConditionNotMet")


def test_an_etag_matches_with_and_without_quotes(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    for template in ("{}", '"{}"', '"no", "{}"', "*"):
        tag = template.format(lab.client.get_pool(pool_id).etag)
        response = lab.send("PATCH", f"/pools/{pool_id}", json={}, headers={"If-Match": tag})
        assert response.status_code == 200


def test_a_read_of_an_unchanged_resource_is_304(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    tag = lab.client.get_job(job_id).etag
    later = "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers in ({"If-None-Match": tag}, {"If-Modified-Since": later}):
        assert lab.send("GET", f"/jobs/{job_id}", headers=headers).status_code == 304
    before = {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert lab.refused("GET", f"/jobs/{job_id}", headers=before) == (412, "ConditionNotMet")
    assert lab.refused("DELETE", f"/jobs/{job_id}", headers=before) == (412, "ConditionNotMet")


def test_a_condition_that_is_not_a_date_is_refused(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    headers = {"If-Modified-Since": "yesterday"}
    assert lab.refused("GET", f"/jobs/{job_id}", headers=headers) == (400, "InvalidHeaderValue")


def test_answers_carry_the_headers_of_azure(lab: Lab) -> None:
    body = {"id": "headers", "poolInfo": {"poolId": "p"}}
    asked = {"client-request-id": "me", "return-client-request-id": "true"}
    created = lab.send("POST", "/jobs", json=body, headers=asked)
    read = lab.send("GET", "/jobs/headers")
    assert (created.status_code, created.content) == (201, b"")
    assert (
        created.headers["Location"] == created.headers["DataServiceId"] == f"{lab.url}/jobs/headers"
    )
    assert created.headers["client-request-id"] == "me"
    assert read.headers["DataServiceVersion"] == "3.0"
    assert read.headers["request-id"] != created.headers["request-id"]
    assert read.headers["ETag"] == created.headers["ETag"] == read.json()["eTag"]
    assert read.headers["ETag"].startswith("0x")
    assert read.headers["Last-Modified"].endswith("GMT")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"id": NaN}',
        b'{"id": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
    ],
    ids=range(10),
)
def test_a_body_that_is_not_a_json_object_is_refused(lab: Lab, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = lab.refused("POST", "/jobs", content=content, headers=headers)
    assert answer == (400, "InvalidRequestBody")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobschedules"),
        ("DELETE", "/jobschedules/s"),
        ("POST", "/jobschedules/s/terminate"),
        ("POST", "/certificates"),
        ("PUT", "/pools/p"),
        ("HEAD", "/jobs/j"),
        ("POST", "/pools/p/nodes/n/reimage"),
        ("GET", "/jobs/j/tasks/t/subtasksinfo"),
        ("GET", "/jobs/j/jobpreparationandreleasetaskstatus"),
        ("GET", "/pools/"),
        ("GET", "/"),
    ],
)
def test_an_operation_that_is_not_in_the_routes_is_refused_and_logged(
    lab: Lab, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    assert lab.send(method, path).status_code == 501
    assert f"{method} {path} is not supported" in caplog.text


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com:80", "", "evil@localhost"])
def test_another_hosts_name_is_refused(lab: Lab, host: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(lab.url).netloc)
    connection.request("GET", "/pools", headers={"Host": host})
    response = connection.getresponse()
    assert (response.status, b"InvalidHeaderValue" in response.read()) == (400, True)
    connection.close()


def test_an_internal_error_is_a_500_without_details(lab: Lab) -> None:
    def spoil(service: Any) -> None:
        service.registry.pools["broken"] = object()

    lab.inside(spoil)
    try:
        response = lab.send("GET", "/pools/broken")
    finally:
        lab.inside(lambda service: service.registry.pools.pop("broken"))
    assert (response.status_code, response.json()["code"]) == (500, "InternalError")
    assert "object" not in response.text()
