import pytest

from tasks.results.listeners import listening, publish
from tasks.results.progress import seconds_left


def test_news_reach_who_listens_and_nobody_after() -> None:
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
def test_the_seconds_left_are_at_the_pace_so_far(
    files: int, finished: int, elapsed_seconds: float, expected: float | None
) -> None:
    left = seconds_left(files=files, finished=finished, elapsed_seconds=elapsed_seconds)
    assert left == expected
