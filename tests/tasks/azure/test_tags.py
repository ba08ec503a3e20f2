from datetime import timedelta

import pytest
from records import NOW, a_pool, a_ticket

from tasks.azure.tags import check_own, read_tags, tags, warm_tags, with_latest_expiry
from tasks.errors import PoolError


def test_the_last_run_decides_when_a_warm_pool_expires() -> None:
    pool = a_pool(keep_warm_minutes=20)
    late, early = (warm_tags(a_ticket(now=NOW + timedelta(hours=n)), pool) for n in (1, 0))
    for present, wanted in ((late, early), (early, late)):
        assert (
            read_tags(with_latest_expiry(present, wanted))["expires_at"]
            == "2026-11-22T13:21:00+00:00"
        )


def test_a_pool_with_the_runs_name_must_have_the_runs_tags() -> None:
    ticket = a_ticket()
    check_own("pool", "p", metadata=tags(ticket), ticket=ticket)
    for others in (None, [], tags(a_ticket())):
        with pytest.raises(
            PoolError, match="The pool 'p' exists already, and this run did not create it"
        ):
            check_own("pool", "p", metadata=others, ticket=ticket)
