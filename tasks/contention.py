"""Which runs exclude each other, and which of them gives way. Pure functions.

A run takes the lease on its own lock first, and then lists the locks that overlap it. Of two runs
that do so at the same time, at least one therefore sees the other. None of them starts while it
sees another. So that one of them does start, the run with the inner folder gives way at once, and
the run with the outer folder looks again for some seconds.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

GIVE_WAY = timedelta(seconds=5)  # long enough for the others to see this run and give way
Step = Literal["start", "look again", "give way"]


def overlaps(folder: str, other: str) -> bool:
    """Return whether one folder of a container is the other one, or is inside it."""
    folder, other = folder.strip("/"), other.strip("/")
    return _is_inside(folder, other) or _is_inside(other, folder)


def _is_inside(inner: str, outer: str) -> bool:
    return not outer or f"{inner}/".startswith(f"{outer}/")


def next_step(folder: str, others: Iterable[str], *, asked_at: datetime, now: datetime) -> Step:
    """Return what a run does that has the lease on its own lock and sees these other locks held."""
    others = tuple(others)
    if not others:
        return "start"
    if now - asked_at >= GIVE_WAY or any(other < folder for other in others):
        return "give way"
    return "look again"
