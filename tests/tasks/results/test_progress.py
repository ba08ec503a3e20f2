import pytest

from tasks.results.listeners import listening, publish
from tasks.results.progress import seconds_left


def test_a_listener_receives_news_only_during_its_block() -> None:
    heard: list[object] = []
    with listening(heard.append):
        publish("one")
        with listening(heard.append):
            publish("two")
    publish("three")
    assert heard == ["one", "two", "two"]


@pytest.mark.parametrize(
    ("files", "finished", "elapsed_seconds", "expected"),
    [(10, 0, 5, None), (10, 5, 5, 5), (10, 10, 5, 0), (3, 1, 2.5, 5)],
)
def test_the_remaining_time_follows_from_the_average_pace(
    files: int, finished: int, elapsed_seconds: float, expected: float | None
) -> None:
    left = seconds_left(files=files, finished=finished, elapsed_seconds=elapsed_seconds)
    assert left == expected
