"""Acts as soon as the code under test logs something."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Reaction(logging.Handler):
    """Calls a function at the first log line with a text."""

    def __init__(self, text: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._text = text
        self._act: Callable[[], object] | None = act

    def emit(self, record: logging.LogRecord) -> None:
        if self._act and self._text in record.getMessage():
            act, self._act = self._act, None
            act()


@contextmanager
def reacting_to(text: str, act: Callable[[], object]) -> Iterator[None]:
    """During the block, call `act` when a module of `tasks` first logs the text."""
    logger, reaction = logging.getLogger("tasks"), Reaction(text, act)
    logger.addHandler(reaction)
    try:
        yield
    finally:
        logger.removeHandler(reaction)
