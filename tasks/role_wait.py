"""The wait for roles that were assigned a moment ago.

A new role can take ten minutes to take effect. Until then, Azure answers 403, as without the role:
https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from tasks.models import Check

PAUSE_SECONDS = 15.0
logger = logging.getLogger(__name__)
Checks = tuple[Check, ...]


class MissingRole(Check):
    """A failed check that passes when a new role takes effect."""

    __slots__ = ()


async def wait_for_roles(
    make_checks: Callable[[], Awaitable[Checks]], *, until: datetime
) -> Checks:
    """Repeat the checks until then while only roles are missing. Return the last ones."""
    checks, is_announced = await make_checks(), False
    while only_roles_are_missing(checks) and (now := datetime.now(UTC)) < until:
        if not is_announced:
            announce(checks, until - now)
            is_announced = True
        await asyncio.sleep(PAUSE_SECONDS)
        checks = await make_checks()
    return checks


def only_roles_are_missing(checks: Sequence[Check]) -> bool:
    """Return whether each failed check is about a role, so that waiting can help."""
    failed = [check for check in checks if check.state == "failed"]
    return bool(failed) and all(isinstance(check, MissingRole) for check in failed)


def announce(checks: Sequence[Check], wait: timedelta) -> None:
    missing = [check for check in checks if isinstance(check, MissingRole)]
    logger.warning(
        "%s A role is missing (%s). A new role takes up to ten minutes to take effect, so this run"
        " waits for up to %d minutes. To end at once: --limits.role-wait-minutes 0.",
        missing[0].detail,
        "; ".join(check.what for check in missing),
        math.ceil(wait / timedelta(minutes=1)),
    )
