"""The tags of pools and jobs: by these they are known as ours, and when they may be deleted."""

from collections.abc import Iterable
from datetime import UTC, timedelta

from azure.batch import models

from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.naming import OWNER, lock_id
from tasks.parameters import Pool

WARM = "warm"  # the tag, and the beginning of the name, of a pool that runs share


def tags(ticket: Ticket) -> list[models.BatchMetadataItem]:
    """By these, `sweep` and the next run know what is ours, whose, and when it is stale."""
    values = {
        "owner": OWNER,
        "run": ticket.run_id,
        "lock": ticket.lock_id,
        "expires_at": ticket.deadline.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return to_metadata(values)


def warm_tags(ticket: Ticket, pool: Pool) -> list[models.BatchMetadataItem]:
    """Of no run and no output: it expires when the last run that asked for it can need it no more.

    Its lock is its own name's; what is in use is told by its jobs.
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
    """Make sure that what bears our run's name was made by our run.

    Raises:
        PoolError: somebody else made it.
    """
    if read_tags(metadata).get("run") != ticket.run_id:
        raise PoolError(
            f"There is a {kind} {name!r} that this run did not make.",
            "Run again: the next run has another name.",
        )


def put_off(
    present: Iterable[models.BatchMetadataItem], wanted: Iterable[models.BatchMetadataItem]
) -> list[models.BatchMetadataItem]:
    """The tags of a warm pool that several runs use: the last of them decides when it expires."""
    values = read_tags(wanted)
    latest = max(values["expires_at"], read_tags(present).get("expires_at", ""))
    return to_metadata(values | {"expires_at": latest})
