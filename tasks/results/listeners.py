"""Listeners that receive the progress of a run while it lasts, and its report at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[object], None]  # receives each Progress, and the Report at the end
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call the listener with all that is published during the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def publish(news: object) -> None:
    """Call all listeners."""
    for listener in _listeners:
        listener(news)
