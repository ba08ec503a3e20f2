from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, a_ticket

from tasks.errors import PoolError
from tasks.parameters import Pool
from tasks.pool import (
    check_own,
    check_shared,
    choose_image,
    deadline_formula,
    make_pool,
    nodes_wanted,
    pool_spec,
    tags,
)


@pytest.mark.parametrize(
    ("pool", "files", "expected"),
    [
        ({}, 1, (1, 0)),
        ({}, 3, (2, 0)),
        ({}, 1000, (5, 0)),
        ({"dedicated_nodes": 2}, 3, (0, 2)),
        ({"dedicated_nodes": 2}, 5, (1, 2)),
        ({"dedicated_nodes": 2, "spot_nodes": 0}, 1000, (0, 2)),
        ({"slots_per_node": 1}, 3, (3, 0)),
    ],
)
def test_no_more_nodes_are_asked_for_than_there_are_files(
    pool: dict[str, int], files: int, expected: tuple[int, int]
) -> None:
    assert nodes_wanted(Pool(**pool), files) == expected


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 8), st.integers(1, 200))
def test_the_nodes_have_a_slot_for_each_file_or_are_all_that_are_allowed(
    spot: int, dedicated: int, slots: int, files: int
) -> None:
    pool = Pool(spot_nodes=spot, dedicated_nodes=dedicated, slots_per_node=slots)
    nodes = sum(nodes_wanted(pool, files))
    assert nodes * slots >= files or nodes == spot + dedicated
    assert (nodes - 1) * slots < files


def test_the_formula_gives_nodes_until_the_deadline_in_universal_time() -> None:
    deadline = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    formula = deadline_formula(spot=3, dedicated=1, deadline=deadline)
    assert '$TargetLowPriorityNodes = time() < time("2026-01-02T01:04:05Z") ? 3 : 0;' in formula
    assert '$TargetDedicatedNodes = time() < time("2026-01-02T01:04:05Z") ? 1 : 0;' in formula


def an_image(agent: str = "24.04", **values: Any) -> models.BatchSupportedImage:
    sku = values.pop("sku", "server")
    given_values = {
        "node_agent_sku_id": f"batch.node.ubuntu {agent}",
        "image_reference": models.BatchVmImageReference(publisher="canonical", sku=sku),
        "os_type": models.OSType.LINUX,
        "verification_type": models.ImageVerificationType.VERIFIED,
    }
    return models.BatchSupportedImage(**(given_values | values))


def test_the_newest_ubuntu_is_chosen() -> None:
    old, new = an_image("22.04", sku="22_04-lts"), an_image()
    assert choose_image([new, old], now=NOW, until=NOW) is new
    assert choose_image([old, new], now=NOW, until=NOW) is new


@pytest.mark.parametrize(
    "unfit",
    [
        an_image("26.04", verification_type=models.ImageVerificationType.UNVERIFIED),
        an_image("26.04", os_type=models.OSType.WINDOWS),
        an_image("26.04", sku="server-arm64"),
        an_image("26.04", batch_support_end_of_life=NOW + timedelta(days=29)),
        an_image(node_agent_sku_id="batch.node.windows amd64"),
    ],
)
def test_an_image_that_does_not_fit_is_passed_over(unfit: models.BatchSupportedImage) -> None:
    good = an_image("22.04", sku="22_04-lts")
    assert choose_image([unfit, good], now=NOW, until=NOW) is good


def test_an_image_must_outlive_the_run() -> None:
    image = an_image(batch_support_end_of_life=NOW + timedelta(days=40))
    assert choose_image([image], now=NOW, until=NOW + timedelta(days=40)) is image
    with pytest.raises(PoolError, match="no verified Ubuntu image"):
        choose_image([image], now=NOW, until=NOW + timedelta(days=41))


def test_a_pool_bears_the_runs_tags_and_scales_by_the_formula() -> None:
    ticket = a_ticket(now=NOW)
    spec = pool_spec(ticket, Pool(), image=an_image(), files=3)
    assert spec.metadata
    assert {item.name: item.value for item in spec.metadata} == {
        "owner": "batch-convert",
        "run": ticket.run_id,
        "lock": ticket.lock_id,
        "expires_at": "2026-11-22T12:01:00+00:00",
    }
    assert spec.enable_auto_scale
    assert "? 2 : 0" in str(spec.auto_scale_formula)
    assert spec.start_task
    assert spec.start_task.wait_for_success


def test_what_bears_our_name_must_bear_our_run() -> None:
    ticket = a_ticket()
    check_own("pool", "p", metadata=tags(ticket), ticket=ticket)
    for others in (None, [], tags(a_ticket())):
        with pytest.raises(PoolError, match="There is a pool 'p' that this run did not make"):
            check_own("pool", "p", metadata=others, ticket=ticket)


async def test_a_pool_is_made_once_however_often_it_is_asked_for(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    assert batch.get_pool(ticket.pool_id).vm_size == "Standard_D2ds_v5"
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_pool_whose_making_was_not_answered_is_taken_for_our_own(
    batch: BatchClient, order: Any
) -> None:
    ticket = a_ticket()
    order("drop", when="after", operation="POST /pools", times=1)
    with pytest.raises(ServiceRequestError):  # which Prefect's task tries again
        await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_pool_of_that_name_which_another_run_made_is_refused(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    with pytest.raises(PoolError, match="that this run did not make"):
        await make_pool.fn(a_ticket(pool_id=ticket.pool_id), Pool(), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_shared_pool_is_checked_and_not_made(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=1)
    shared = a_ticket(pool_id=ticket.pool_id, owns_pool=False)
    await make_pool.fn(shared, Pool(id=ticket.pool_id, vm_size="STANDARD_D2DS_V5"), files=1)
    for unfit, problem in [
        ({"slots_per_node": 1}, "slots per node 2, not 1"),
        ({"vm_size": "Standard_D4ds_v5"}, "VM size standard_d2ds_v5, not standard_d4ds_v5"),
    ]:
        with pytest.raises(PoolError, match=problem):
            await make_pool.fn(shared, Pool(id=ticket.pool_id, **unfit), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_shared_pool_that_is_not_there_is_refused(account: dict[str, str]) -> None:
    assert account
    with pytest.raises(PoolError, match="There is no pool 'nosuch'"):
        await make_pool.fn(a_ticket(owns_pool=False), Pool(id="nosuch"), files=1)


def test_a_shared_pool_that_is_being_deleted_is_refused() -> None:
    found = models.BatchPool({"id": "warm", "state": "deleting", "vmSize": "standard_d2ds_v5"})
    with pytest.raises(PoolError, match=r"state deleting, not active"):
        check_shared(found, Pool(id="warm"))


def test_the_time_zone_of_a_deadline_does_not_matter() -> None:
    here = NOW.astimezone(timezone(timedelta(hours=-5)))
    one = deadline_formula(spot=1, dedicated=0, deadline=NOW.astimezone(UTC))
    assert deadline_formula(spot=1, dedicated=0, deadline=here) == one
