"""What a run's nodes cost: hours that are paid for, and money where a price is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.media.presets import PRESETS
from tasks.models import Conversion, FileResult, NodeLife
from tasks.results.text import counted

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


# Seconds of the source that a vCPU converts in a second: rounded down from ffmpeg 5.1 on an AMD
# EPYC (sound 41 to 194, by preset; 1280x720 with noise to mp4-720p 0.5, to webm 0.8).
SOUND_SPEED = 40
FILM_SPEED = 0.5
BOOT_SECONDS = 5 * 60  # of a node, until its start task has installed ffmpeg; it is paid for


@dataclass(frozen=True, slots=True)
class Estimate:
    node_hours: float
    cost: float | None  # in whatever the price was in; None without one
    basis: str


def estimate(
    conversions: Sequence[Conversion], *, nodes: int, slots: int, price_per_node_hour: float
) -> Estimate:
    """Nodes that boot, then convert on all slots; that they also wait for uploads is left out."""
    work_seconds = sum((c.seconds or 0) / speed(c) for c in conversions)
    hours = round((nodes * BOOT_SECONDS + work_seconds / slots) / 3600, 2)
    cost = round(hours * price_per_node_hour, 2) if price_per_node_hour else None
    return Estimate(hours, cost, "; ".join(basis(conversions, nodes=nodes)))


def speed(conversion: Conversion) -> float:
    return FILM_SPEED if is_film(conversion) else SOUND_SPEED


def is_film(conversion: Conversion) -> bool:
    return "video" in PRESETS[conversion.preset].streams


def basis(conversions: Sequence[Conversion], *, nodes: int) -> Iterable[str]:
    each = "the node" if nodes == 1 else f"each of {nodes} nodes"
    yield f"{BOOT_SECONDS // 60} minutes to boot for {each}"
    kinds = {is_film(conversion) for conversion in conversions}
    if False in kinds:
        yield f"sound at {SOUND_SPEED} times its length on a vCPU"
    if True in kinds:
        yield f"film at {FILM_SPEED} times"
    if unknown := sum(conversion.seconds is None for conversion in conversions):
        yield f"{counted(unknown, 'file')} left out for want of a length"
    yield "without waiting for uploads"
