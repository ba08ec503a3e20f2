"""Who is notified while a run goes on: of its progress, and of its report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[object], None]  # called with a Progress, at the end with the Report
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def publish(news: object) -> None:
    for listener in _listeners:
        listener(news)
