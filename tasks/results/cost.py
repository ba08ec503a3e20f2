"""What the nodes of a run cost: billed hours, and money if a price is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.media.expected_work import expected_seconds_of_work
from tasks.models import Conversion, FileResult, NodeLife
from tasks.parameters import Pool
from tasks.results.text import counted
from tasks.slots import SCHEDULING_SECONDS, node_seconds

HOUR = timedelta(hours=1)


def paid_hours(nodes: Iterable[NodeLife], *, since: datetime, now: datetime) -> float:
    """Return the billed hours of all nodes together. An evicted node is not billed."""
    return sum((paid_time(node, since=since, now=now) for node in nodes), timedelta()) / HOUR


def paid_time(node: NodeLife, *, since: datetime, now: datetime) -> timedelta:
    begin, end = max(node.allocated_at, since), node.gone_at or now
    evicted = (
        time_between(max(outage.started_at, begin), min(outage.ended_at or end, end))
        for outage in node.outages
        if outage.name == "evicted"
    )
    return max(timedelta(), time_between(begin, end) - sum(evicted, timedelta()))


def time_between(begin: datetime, end: datetime) -> timedelta:
    return max(timedelta(), end - begin)


def share_cost(files: Sequence[FileResult], *, cost: float | None) -> tuple[FileResult, ...]:
    """Divide the cost of all nodes, idle time included, by the seconds that each file took."""
    seconds = math.fsum(file.seconds or 0 for file in files)
    if cost is None or not seconds:
        return tuple(files)
    return tuple(
        replace(file, cost=round(cost * file.seconds / seconds, 6)) if file.seconds else file
        for file in files
    )


BOOT_SECONDS = 5 * 60  # of a node, the installation of ffmpeg included; they are billed


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of what a run costs."""

    node_hours: float
    cost: float | None  # in the currency of the price; None without a price
    basis: str  # the assumptions


def estimate(
    conversions: Sequence[Conversion], *, nodes: int, pool: Pool, price_per_node_hour: float
) -> Estimate:
    """Estimate nodes that boot, then convert on all slots, and never wait for uploads."""
    work_seconds = math.fsum(map(expected_seconds_of_work, conversions))
    busy_seconds = node_seconds(pool, files=len(conversions), work_seconds=work_seconds)
    hours = round((nodes * BOOT_SECONDS + busy_seconds) / 3600, 2)
    cost = round(hours * price_per_node_hour, 2) if price_per_node_hour else None
    return Estimate(
        hours, cost, "; ".join(assumptions(conversions, nodes=nodes, work_seconds=work_seconds))
    )


def assumptions(
    conversions: Sequence[Conversion], *, nodes: int, work_seconds: float
) -> Iterable[str]:
    each = "the node" if nodes == 1 else f"each of {nodes} nodes"
    yield f"{BOOT_SECONDS // 60} minutes to boot for {each}"
    yield f"{work_seconds / 60:,.1f} minutes of conversion on one vCPU"
    if unknown := sum(conversion.seconds is None for conversion in conversions):
        yield f"the length of {counted(unknown, 'file')} estimated from the size"
    yield f"{SCHEDULING_SECONDS:g} s until Batch starts each file; waiting for uploads not included"
