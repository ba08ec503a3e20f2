from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from records import (
    NOW,
    ONE,
    a_batch_result,
    a_conversion,
    a_ledger,
    a_plan,
    a_request,
    a_source,
    a_ticket,
)

from storage_proxy import Refusal, StorageProxy
from tasks.azure.clients import blob_service
from tasks.azure.memory_store import StoredMemory
from tasks.azure.sas import Signer
from tasks.failure_memory import Memory
from tasks.known_failures import learn, lesson_of, recall, remember, separate_known, tools_of
from tasks.models import Evidence, KnownFailure
from tasks.naming import batch_task_id, memory_container
from tasks.parameters import Request, Run
from tasks.plan import confirm_plan
from tasks.results.ledger import Ledger
from tasks.submission import TaskWriter

TAIL = "[mov @ 0x1] partial file\nrunner-version: lavf 59.27.100\nrunner: the source is cut short"
REASON = "the source is cut short (ffmpeg: partial file)"
OTHER = a_conversion(a_source("b.mp4"), content="c1")


def a_failure(status: int = 65, *, tail: str = TAIL, **values: Any) -> Ledger:
    """Return the ledger of a run in which the runner failed with this status."""
    result = a_batch_result("failed", exit_code=status, code="FailureExitCode")
    evidence = Evidence(
        {}, {}, {batch_task_id(ONE.key, 1): tail}, ffmpeg_versions=frozenset({"59.27.100"})
    )
    return a_ledger(**({"batch_results": (result,), "evidence": evidence} | values))


async def recalled(request: Request) -> StoredMemory:
    async with blob_service() as service:
        return await recall(service, request)


async def known(request: Request) -> tuple[KnownFailure, ...]:
    async with blob_service() as service:
        failures, untried = await separate_known(service, (ONE, OTHER), request)
    assert {c.key for c in untried} | {f.conversion.key for f in failures} == {ONE.key, OTHER.key}
    return failures


def test_a_run_learns_which_sources_are_at_fault_with_the_reason_and_the_versions() -> None:
    lesson = lesson_of(a_failure(), at=NOW)
    entry = lesson.failures[ONE.key]
    assert (entry.reason, entry.failed_at, entry.ffmpeg) == (REASON, NOW, "59.27.100")
    assert (entry.runner, entry.origin) == (lesson.tools.runner, "ubuntu apt")
    assert lesson.ffmpeg_versions == {"59.27.100"}


@pytest.mark.parametrize("status", [64, 66, 75, 127, 137, 139, 228])
def test_a_run_does_not_learn_from_crashes_transfers_and_wrong_settings(status: int) -> None:
    assert lesson_of(a_failure(status), at=NOW).failures == {}


@pytest.mark.usefixtures("account")
async def test_a_remembered_source_is_known_unless_the_run_tries_it_again(
    containers: tuple[str, str], in_flow: Any
) -> None:
    request = a_request(containers)
    assert await known(request) == ()
    await in_flow(lambda: learn(a_failure(request=request)))
    (failure,) = await known(request)
    assert (failure.conversion, failure.reason) == (ONE, REASON)
    for run in (Run(force=True), Run(retry_failed=True)):
        assert await known(a_request(containers, run=run)) == ()
    beside = await known(a_request(containers, output={"prefix": "talks"}))
    assert [failure.conversion for failure in beside] == [ONE]  # keys contain the prefix


async def test_a_run_without_failures_creates_no_container(
    containers: tuple[str, str], in_flow: Any, blobs: BlobServiceClient
) -> None:
    done = a_failure(0, request=a_request(containers), batch_results=())
    await in_flow(lambda: learn(done))
    assert not blobs.get_container_client(memory_container(containers[1])).exists()


@pytest.mark.usefixtures("account")
async def test_a_run_that_sees_another_ffmpeg_forgets_the_failures_of_the_old_one(
    containers: tuple[str, str], in_flow: Any
) -> None:
    request = a_request(containers)
    await in_flow(lambda: learn(a_failure(request=request)))
    seen = Evidence({OTHER.key: 9}, {}, {}, ffmpeg_versions=frozenset({"60.3.100"}))
    ledger = a_ledger(request=request, plan=a_plan(OTHER), evidence=seen)
    await in_flow(lambda: learn(ledger))
    assert (await recalled(request)).memory == Memory()
    assert await known(request) == ()


async def test_a_failure_to_remember_is_logged_and_fails_nothing(
    containers: tuple[str, str],
    in_flow: Any,
    caplog: pytest.LogCaptureFixture,
    storage_faults: StorageProxy,
) -> None:
    storage_faults.order(Refusal(status=403, method="PUT", blob="*-failures/*"))
    await in_flow(lambda: learn(a_failure(request=a_request(containers))))
    assert "Failures of this run are not remembered. Azure Storage refused" in caplog.text


async def test_what_another_run_remembers_meanwhile_is_kept(
    containers: tuple[str, str], blobs: BlobServiceClient
) -> None:
    request = a_request(containers)
    lesson = lesson_of(a_failure(request=request), at=NOW)
    other = replace(lesson, failures={OTHER.key: lesson.failures[ONE.key]})
    await remember.fn(other, request)
    await remember.fn(lesson, request)
    assert set((await recalled(request)).memory.failures) == {ONE.key, OTHER.key}
    assert blobs.get_container_client(memory_container(containers[1])).exists()


@pytest.mark.usefixtures("account")
async def test_what_another_run_remembers_while_this_one_waits_for_the_lock_is_not_tried(
    containers: tuple[str, str],
) -> None:
    request = a_request(containers)
    lesson = lesson_of(a_failure(request=request), at=datetime.now(UTC))
    await remember.fn(lesson, request)
    confirmed = await confirm_plan.fn(a_plan(ONE, OTHER), request)
    assert confirmed.pending == (OTHER,)
    assert [failure.conversion for failure in confirmed.known_failures] == [ONE]


def test_nodes_get_no_access_to_the_memory() -> None:
    signer = Signer("https://s", "s", NOW, "a2V5", None)
    request = a_request()
    writer = TaskWriter(signer=signer, ticket=a_ticket(now=NOW), request=request)
    assert memory_container(request.cleanup.container) not in str(writer.write(ONE, 1))


def test_the_tools_change_with_the_runner_and_with_where_nodes_get_ffmpeg() -> None:
    assert tools_of(a_request()) == tools_of(a_request(run=Run(force=True)))
    assert len(tools_of(a_request()).runner) == 16
