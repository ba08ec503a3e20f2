from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, a_pool, a_ticket

from tasks.azure.tags import read_tags
from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.parameters import Node, Pool
from tasks.pool import (
    check_identity,
    check_shared,
    make_pool,
    network,
    nodes_wanted,
    pool_spec,
    warm_pool_id,
)
from tasks.start_task import start_task


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
def test_no_more_nodes_are_requested_than_files_need(
    pool: dict[str, int], files: int, expected: tuple[int, int]
) -> None:
    assert nodes_wanted(a_pool(**pool), files) == expected


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 8), st.integers(1, 200))
def test_the_nodes_have_a_slot_for_each_file_up_to_the_limits(
    spot: int, dedicated: int, slots: int, files: int
) -> None:
    pool = a_pool(spot_nodes=spot, dedicated_nodes=dedicated, slots_per_node=slots)
    nodes = sum(nodes_wanted(pool, files))
    assert nodes * slots >= files or nodes == spot + dedicated
    assert (nodes - 1) * slots < files


def a_spec(ticket: Ticket, pool: Pool, node: Node = Node()) -> models.BatchPoolCreateOptions:
    """Return the pool of a run with a custom image."""
    image = models.BatchVmImageReference(publisher="canonical", sku="server")
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )
    return pool_spec(
        ticket, pool, node=node, machine=machine, start=start_task(node), formula="formula"
    )


def test_a_pool_has_the_runs_tags_and_a_formula() -> None:
    ticket = a_ticket(now=NOW)
    spec = a_spec(ticket, a_pool())
    assert read_tags(spec.metadata) == {
        "owner": "batch-convert",
        "run": ticket.run_id,
        "lock": ticket.lock_id,
        "output": "output",
        "expires_at": "2026-11-22T12:01:00+00:00",
    }
    assert (spec.enable_auto_scale, spec.auto_scale_formula) == (True, "formula")
    assert spec.start_task
    assert spec.start_task.wait_for_success


def test_a_warm_pool_names_no_run_and_expires_after_its_last_use() -> None:
    spec = a_spec(a_ticket(now=NOW, owns_pool=False), a_pool(keep_warm_minutes=20))
    values = read_tags(spec.metadata)
    assert (values["owner"], values["warm"]) == ("batch-convert", "20")
    assert values["expires_at"] == "2026-11-22T12:21:00+00:00"
    assert "run" not in values


def test_a_warm_pools_name_depends_on_its_nodes_and_the_month() -> None:
    pool, node = a_pool(keep_warm_minutes=20), Node()
    name = warm_pool_id(pool, node, now=NOW)
    assert name == warm_pool_id(pool.model_copy(update={"priority": 5}), node, now=NOW)
    others = {
        warm_pool_id(pool.model_copy(update={"spot_nodes": 4}), node, now=NOW),
        warm_pool_id(pool.model_copy(update={"slots_per_node": 8}), node, now=NOW),
        warm_pool_id(pool, Node(ffmpeg="image"), now=NOW),
        warm_pool_id(pool, node, now=NOW + timedelta(days=31)),
    }
    assert len(others - {name}) == 4
    assert len(name) <= 64


def test_nodes_join_a_subnet_with_or_without_public_addresses() -> None:
    subnet = "/subscriptions/s/resourceGroups/g/x/virtualNetworks/v/subnets/n"
    assert network(Node()) is None
    with_addresses = network(Node(subnet_id=subnet))
    without = network(Node(subnet_id=subnet, public_ip="none"))
    assert with_addresses
    assert without
    assert without.public_ip_address_configuration
    assert with_addresses.subnet_id == without.subnet_id == subnet
    assert with_addresses.public_ip_address_configuration is None
    assert (
        without.public_ip_address_configuration.ip_address_provisioning_type
        == models.IpAddressProvisioningType.NO_PUBLIC_IP_ADDRESSES
    )


@pytest.mark.parametrize("fill", ["spread", "pack"])
def test_files_are_spread_or_packed(fill: Any) -> None:
    policy = a_spec(a_ticket(), a_pool(), Node(fill=fill)).task_scheduling_policy
    assert policy
    assert policy.node_fill_type == fill


async def test_a_pool_is_created_only_once(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    assert batch.get_pool(ticket.pool_id).vm_size == "Standard_D2ds_v5"
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_pool_is_recognized_after_the_response_to_its_creation_was_lost(
    batch: BatchClient, order: Any
) -> None:
    ticket = a_ticket()
    order("drop", when="after", operation="POST /pools", times=1)
    with pytest.raises(ServiceRequestError):  # which the stage retries
        await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_pool_that_another_run_created_is_refused(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    with pytest.raises(PoolError, match="this run did not create it"):
        await make_pool.fn(a_ticket(pool_id=ticket.pool_id), a_pool(), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_shared_pool_is_checked_and_not_created(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    shared = a_ticket(pool_id=ticket.pool_id, owns_pool=False)
    for fit in ({"vm_size": "STANDARD_D2DS_V5"}, {"slots_per_node": 0}):
        await make_pool.fn(shared, a_pool(id=ticket.pool_id, **fit), files=1)
    for unfit, problem in [
        ({"slots_per_node": 1}, "slots per node is 2, not 1"),
        ({"vm_size": "Standard_D4ds_v5"}, "VM size is standard_d2ds_v5, not standard_d4ds_v5"),
    ]:
        with pytest.raises(PoolError, match=problem):
            await make_pool.fn(shared, a_pool(id=ticket.pool_id, **unfit), files=1)
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_shared_pool_that_does_not_exist_is_refused(account: dict[str, str]) -> None:
    assert account
    with pytest.raises(PoolError, match="The pool 'nosuch' does not exist"):
        await make_pool.fn(a_ticket(owns_pool=False), Pool(id="nosuch"), files=1)


def test_the_error_about_an_identity_names_those_that_the_shared_pool_has() -> None:
    wanted = Pool.model_construct(id="warm", identity="/subscriptions/s/other")
    identities = [{"resourceId": "/subscriptions/s/one"}, {"resourceId": "/subscriptions/s/two"}]
    with_two = {"id": "warm", "identity": {"userAssignedIdentities": identities}}
    with pytest.raises(PoolError) as two:
        check_identity(models.BatchPool(with_two), wanted)
    assert str(two.value) == (
        "The shared pool 'warm' does not have the identity /subscriptions/s/other. Set"
        " pool.identity to one of: /subscriptions/s/one, /subscriptions/s/two, or leave it empty."
    )
    with pytest.raises(PoolError, match=r"has no identity: leave pool\.identity empty"):
        check_identity(models.BatchPool({"id": "warm"}), wanted)


def test_a_shared_pool_that_is_being_deleted_is_refused() -> None:
    found = models.BatchPool({"id": "warm", "state": "deleting", "vmSize": "standard_d2ds_v5"})
    with pytest.raises(PoolError, match=r"state is deleting, not active"):
        check_shared(found, a_pool(id="warm"))
