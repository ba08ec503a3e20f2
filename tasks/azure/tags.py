"""The tags of pools and jobs: which run created them, and when they expire."""

from collections.abc import Iterable
from datetime import UTC, timedelta

from azure.batch import models

from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.naming import OWNER, lock_id
from tasks.parameters import Pool

WARM = "warm"  # tags a pool that runs share, and begins its name


def tags(ticket: Ticket) -> list[models.BatchMetadataItem]:
    """Return the tags by which `sweep` and the next run find what a run has left behind."""
    values = {
        "owner": OWNER,
        "run": ticket.run_id,
        "lock": ticket.lock_id,
        "output": ticket.output_container,
        "expires_at": ticket.deadline.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return to_metadata(values)


def warm_tags(ticket: Ticket, pool: Pool) -> list[models.BatchMetadataItem]:
    """Return the tags of a warm pool. They name no run, and expire after the last run that uses it.

    The lock id comes from the pool's name. A pool with an open job is in use.
    """
    last_use = ticket.deadline + timedelta(minutes=pool.keep_warm_minutes)
    values = {
        "owner": OWNER,
        "lock": lock_id(WARM, ticket.pool_id),
        WARM: str(pool.keep_warm_minutes),
        "expires_at": last_use.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return to_metadata(values)


def to_metadata(values: dict[str, str]) -> list[models.BatchMetadataItem]:
    return [models.BatchMetadataItem(name=name, value=value) for name, value in values.items()]


def read_tags(metadata: Iterable[models.BatchMetadataItem] | None) -> dict[str, str]:
    return {item.name: item.value for item in metadata or ()}


def check_own(
    kind: str,
    name: str,
    *,
    metadata: Iterable[models.BatchMetadataItem] | None,
    ticket: Ticket,
) -> None:
    """Check that an existing job or pool with the run's id was created by this run.

    Raises:
        PoolError: Another run or user created it.
    """
    if read_tags(metadata).get("run") != ticket.run_id:
        raise PoolError(
            f"The {kind} {name!r} exists already, and this run did not create it.",
            "Run again: the next run uses another name.",
        )


def with_latest_expiry(
    present: Iterable[models.BatchMetadataItem], wanted: Iterable[models.BatchMetadataItem]
) -> list[models.BatchMetadataItem]:
    """Return the wanted tags of a warm pool with the later expiry of the two."""
    values = read_tags(wanted)
    latest = max(values["expires_at"], read_tags(present).get("expires_at", ""))
    return to_metadata(values | {"expires_at": latest})
