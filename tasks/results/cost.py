"""What a run's nodes cost: hours that are paid for, and money where a price is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tasks.models import FileResult, NodeLife

HOUR = timedelta(hours=1)


def paid_hours(nodes: Iterable[NodeLife], *, since: datetime, now: datetime) -> float:
    """Of all nodes seen, together. One that is evicted costs nothing until it is back."""
    return sum((_paid(node, since=since, now=now) for node in nodes), timedelta()) / HOUR


def _paid(node: NodeLife, *, since: datetime, now: datetime) -> timedelta:
    begin, end = max(node.allocated_at, since), node.gone_at or now
    evicted = (
        _span(max(outage.started_at, begin), min(outage.ended_at or end, end))
        for outage in node.outages
        if outage.name == "evicted"
    )
    return max(timedelta(), _span(begin, end) - sum(evicted, timedelta()))


def _span(begin: datetime, end: datetime) -> timedelta:
    return max(timedelta(), end - begin)


def share_cost(files: Sequence[FileResult], *, cost: float | None) -> tuple[FileResult, ...]:
    """Each file's part of what all nodes cost, by its seconds on one: boots and idling too."""
    seconds = math.fsum(file.seconds or 0 for file in files)
    if cost is None or not seconds:
        return tuple(files)
    return tuple(
        replace(file, cost=round(cost * file.seconds / seconds, 6)) if file.seconds else file
        for file in files
    )
