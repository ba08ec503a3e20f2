from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from records import NOW, at

from tasks.outages import LONGEST_FAILURE, OUTAGE_SECONDS, Outage, patiently, pause_seconds


def test_an_outage_of_five_minutes_is_tolerated_and_a_longer_one_is_not() -> None:
    outage = Outage()
    for seconds in range(0, 301, 10):
        assert outage.is_tolerable(attempted_at=at(seconds - 5), now=at(seconds))
    end = at(OUTAGE_SECONDS)
    assert not outage.is_tolerable(attempted_at=end - timedelta(seconds=5), now=end)


def test_after_an_attempt_that_made_progress_a_new_outage_begins() -> None:
    outage = Outage()
    assert outage.is_tolerable(attempted_at=NOW, now=at(1))
    later = at(OUTAGE_SECONDS)
    assert outage.is_tolerable(
        attempted_at=later - LONGEST_FAILURE - timedelta(seconds=1), now=later
    )


def test_pauses_grow_up_to_a_quarter_of_a_minute() -> None:
    assert [pause_seconds(failures) for failures in range(1, 7)] == [2, 4, 8, 15, 15, 15]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.outages.PAUSES_SECONDS", (0.01,))


@pytest.mark.usefixtures("quick")
async def test_attempts_follow_each_other_until_one_succeeds() -> None:
    errors: list[Exception] = [ServiceRequestError("no route")] * 5

    async def attempt() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert await patiently(attempt) == "done"


@pytest.mark.usefixtures("quick")
async def test_the_last_error_is_raised_after_an_outage_that_is_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.outages.OUTAGE_SECONDS", 0.1)
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise ServiceRequestError("no route")

    with pytest.raises(ServiceRequestError):
        await patiently(attempt)
    assert attempts > 2


async def test_an_error_that_will_not_pass_is_raised_at_once() -> None:
    async def attempt() -> None:
        error = HttpResponseError("denied")
        error.status_code = 403
        raise error

    with pytest.raises(HttpResponseError):
        await patiently(attempt)
