"""Locks on files, which the system lets go of when their holder dies, in whatever way."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Lock:
    """An open lock file. It may be handed to a child process, with what it holds."""

    def __init__(self, descriptor: int) -> None:
        """Adopt an open descriptor, for this process alone."""
        self.descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature

    @classmethod
    def at(cls, path: Path) -> "Lock":
        """Open the file of a lock, which holds nothing yet."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def share(self) -> None:
        """Wait until nobody excludes others, then keep others from it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def exclude(self) -> None:
        """Wait until nobody else holds it, then hold it alone."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def try_exclude(self) -> bool:
        """Hold it alone, if that can be at once."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let others have it; it can be taken again."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go; where a child has it too, it is held until the child ends."""
        os.close(self.descriptor)


@contextmanager
def excluding(path: Path) -> Iterator[None]:
    """Hold the lock at `path` alone, after waiting for it."""
    lock = Lock.at(path)
    try:
        lock.exclude()
        yield
    finally:
        lock.close()
