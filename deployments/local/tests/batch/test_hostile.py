"""Hostile requests: none gets a 500 or reaches other files, and the service keeps running.

HOSTILE_REQUESTS sets the number of fuzzed requests. The seed is fixed.
"""

import base64
import contextlib
import http.client
import itertools
import json
import os
import random
import socket
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab import Lab
from local_azure.batch import shared_key
from local_azure.batch.routes import ROUTES

ACCOUNT = "localbatch"
REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "1500"))
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
IDS = ["p", "j", "t", "..", "%2e%2e", "a%00b", "%ff", "%ed%a0%80", "x" * 300, "é", "a b", "%", "*"]
FILES = ["stdout.txt", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "wd%2f..%2f..", ".", "%00"]
VALUES: list[Any] = [
    None, True, -1, 0, 1e308, 2**70, "", "x" * 5000, "\0", "\u202e", [], {}, [[]], {"a": {}},
    "P", "PT1S",
]  # fmt: skip
NAMES = [
    "id", "commandLine", "poolInfo", "poolId", "constraints", "maxWallClockTime", "value",
    "resourceFiles", "outputFiles", "environmentSettings", "requiredSlots", "priority", "metadata",
    "targetDedicatedNodes", "autoScaleFormula", "nodeList", "startTask",
    "virtualMachineConfiguration", "kind", "disableTasks", "onAllTasksComplete", "vmSize",
    "enableAutoScale",
]  # fmt: skip
QUERIES = [
    "", "&$filter=", "&$filter=state eq 'x'", "&$filter=((((", "&$select=", "&$select=,,",
    "&maxresults=9" * 3, "&$skiptoken=%ff", "&recursive=x", "&x=y", "&%24filter=%00",
    "&timeout=0", "&$filter=" + "not " * 900,
]  # fmt: skip


class Raw:
    """Sends requests as bytes, with or without a valid signature."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.address = urlsplit(lab.url)

    def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        signed: bool = True,
    ) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        sent = {"host": self.address.netloc, "ocp-date": formatdate(usegmt=True)} | (headers or {})
        if body or method not in ("GET", "HEAD"):
            sent.setdefault("content-length", str(len(body)))
        if signed:
            sent["authorization"] = self.signature(method, path, query, sent)
        connection = http.client.HTTPConnection(self.address.netloc, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.read()

    def signature(self, method: str, path: str, query: str, headers: dict[str, str]) -> str:
        text = shared_key.string_to_sign(
            method=method, account=ACCOUNT, raw_path=path, query=query, headers=headers
        )
        return f"SharedKey {ACCOUNT}:{shared_key.sign(text, base64.b64decode(self.lab.key))}"


@pytest.fixture
def raw(lab: Lab) -> Raw:
    return Raw(lab)


def document(chance: random.Random, depth: int = 3) -> Any:
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(VALUES)
    if chance.random() < 0.3:
        return [document(chance, depth - 1) for _ in range(chance.randrange(3))]
    names = chance.sample(NAMES, chance.randrange(6))
    return {name: document(chance, depth - 1) for name in names}


def body(chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(200))
    raw = json.dumps(document(chance)).encode()
    return raw[: chance.randrange(len(raw) + 1)] if chance.random() < 0.1 else raw


def requests(chance: random.Random) -> Iterator[tuple[str, str, bytes]]:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"]
    while True:
        route = chance.choice(ROUTES)
        path = route.path
        for name in ("pool", "node", "job", "task"):
            path = path.replace(f"{{{name}}}", chance.choice(IDS))
        path = path.replace("{file:path}", chance.choice(FILES))
        known = next(iter(route.methods or {"GET"}))
        method = known if chance.random() < 0.8 else chance.choice(methods)
        target = f"{path}?api-version=2025-06-01{chance.choice(QUERIES)}".replace(" ", "%20")
        yield method, target.encode("ascii", "backslashreplace").decode(), body(chance)


def test_fuzzed_requests_never_break_the_service(lab: Lab, raw: Raw) -> None:
    lab.client.create_pool(lab.pool_options("p"))
    lab.job("p")
    made = requests(random.Random(20261122))  # noqa: S311  reproducible on purpose
    seen = set()
    for method, target, content in itertools.islice(made, REQUESTS):
        headers = {"content-type": "application/json"}
        status, answer = raw.send(method, target, body=content, headers=headers)
        assert status != 500, (method, target, content, answer)
        seen.add(status)
    assert {200, 400, 404, 501} <= seen
    lab.send("DELETE", "/_local/faults")
    assert lab.send("GET", "/jobs").status_code == 200


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.methods} {route.path}")
def test_no_operation_works_without_a_signature(raw: Raw, route: Any) -> None:
    path = route.path.replace("{file:path}", "f").translate({ord("{"): None, ord("}"): None})
    (method,) = route.methods
    target = f"{path}?api-version=2025-06-01"
    stale = {"ocp-date": "Sat, 01 Jan 2000 00:00:00 GMT"}
    for attempt in (
        {"signed": False},
        {"signed": False, "headers": {"authorization": f"SharedKey {ACCOUNT}:AAAA"}},
        {"headers": stale},
    ):
        assert raw.send(method, target, body=b"", **attempt)[0] == 403


def test_a_signature_is_valid_for_one_request_only(lab: Lab, raw: Raw) -> None:
    content = b'{"id": "j", "poolInfo": {"poolId": "p"}}'
    headers = {"ocp-date": formatdate(usegmt=True), "content-length": str(len(content))}
    query = "api-version=2025-06-01"
    signature = raw.signature("GET", "/jobs", query, headers)
    status, _ = raw.send(
        "POST",
        f"/jobs?{query}",
        body=content,
        headers=headers | {"authorization": signature},
        signed=False,
    )
    assert status == 403
    assert not list(lab.client.list_jobs())


def test_a_signature_does_not_cover_a_second_value_of_a_parameter(raw: Raw) -> None:
    status, answer = raw.send("GET", "/jobs?api-version=2025-06-01&$select=id&$select=state")
    assert (status, b"twice" in answer) == (400, True)


def test_a_duplicate_header_is_refused(raw: Raw) -> None:
    with socket.create_connection((raw.address.hostname, raw.address.port)) as connection:
        connection.sendall(b"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: example.com\r\n\r\n")
        assert b" 400 " in connection.recv(1000)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("signed", [True, False])
def test_huge_bodies_are_refused_without_using_much_memory(raw: Raw, *, signed: bool) -> None:
    content = b"x" * (12 << 20)
    before = resident_bytes()
    for _ in range(8):
        with contextlib.suppress(ConnectionError):
            status, _ = raw.send(
                "POST", "/jobs?api-version=2025-06-01", body=content, signed=signed
            )
            assert status == (413 if signed else 403)
    assert resident_bytes() - before < 40 << 20


def test_a_body_that_ends_early_does_nothing(lab: Lab, raw: Raw) -> None:
    content = b'{"id": "half", "poolInfo": {"poolId": "p"}}'
    headers = {"host": raw.address.netloc, "ocp-date": formatdate(usegmt=True)}
    headers["content-length"] = str(len(content) + 10)
    headers["authorization"] = raw.signature("POST", "/jobs", "api-version=2025-06-01", headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((raw.address.hostname, raw.address.port)) as connection:
        request = f"POST /jobs?api-version=2025-06-01 HTTP/1.1\r\n{lines}\r\n"
        connection.sendall(request.encode() + content)
    assert lab.send("GET", "/jobs/half").status_code == 404


def test_no_file_outside_the_node_is_read_or_deleted(
    lab: Lab, raw: Raw, pool: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TREASURE")
    links = (
        f"ln -s {secret} file; ln -s {tmp_path} folder; ln -s .. up; ln -s loop loop; mkfifo pipe"
    )
    task = lab.run(pool, links)
    job_id = task.url.split("/")[-3]
    root = task.node_info.task_root_directory.replace("/", "%2F")
    node = f"/pools/{pool}/nodes/{task.node_info.node_id}/files/{root}%2Fwd%2F"
    deep = "..%2F" * 12
    for base in (f"/jobs/{job_id}/tasks/{task.id}/files/wd%2F", node):
        for name in (
            "file",
            "folder%2Fsecret",
            "loop",
            "pipe",
            f"{deep}etc%2Fpasswd",
            "%2Fetc%2Fpasswd",
        ):
            for method in ("GET", "HEAD", "DELETE"):
                status, answer = raw.send(method, f"{base}{name}?api-version=2025-06-01")
                assert status == 404
                assert b"TREASURE" not in answer
    assert secret.read_text() == "TREASURE"


def test_deleting_a_job_or_task_deletes_its_own_files_only(
    lab: Lab, pool: str, tmp_path: Path
) -> None:
    (tmp_path / "kept").touch()
    task = lab.run(pool, f"ln -s {tmp_path} folder")
    job_id = task.url.split("/")[-3]
    lab.client.delete_task_file(job_id, task.id, "wd", recursive=True)
    task = lab.run(pool, f"ln -s {tmp_path} folder")
    lab.client.begin_delete_job(task.url.split("/")[-3], polling_interval=0).wait()
    assert (tmp_path / "kept").exists()
