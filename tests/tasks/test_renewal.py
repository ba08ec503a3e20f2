from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from records import NOW, at

from tasks.azure.lease import LEASE_SECONDS, QUICKLY
from tasks.renewal import RENEWAL_SECONDS, may_have_expired


@given(st.floats(0, 100))
def test_a_lease_may_have_expired_when_its_time_has_passed_since_it_was_confirmed(
    seconds: float,
) -> None:
    expected = timedelta(seconds=seconds) >= timedelta(seconds=LEASE_SECONDS)
    assert may_have_expired(confirmed_at=NOW, now=at(seconds)) is expected


def test_a_renewal_that_hangs_leaves_time_for_another_one() -> None:
    assert RENEWAL_SECONDS + QUICKLY["read_timeout"] < LEASE_SECONDS
    assert RENEWAL_SECONDS + QUICKLY["connection_timeout"] < LEASE_SECONDS
    assert QUICKLY["retry_total"] == 0
