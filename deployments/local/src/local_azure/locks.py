"""Locks on files. The system releases a lock when its holder dies, even if it is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Lock:
    """An open lock file, which can be passed to a child process together with its lock."""

    def __init__(self, descriptor: int) -> None:
        """Adopt an open descriptor. Children do not inherit it unless it is passed to them."""
        self.descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003  the signature of the standard library

    @classmethod
    def at(cls, path: Path) -> "Lock":
        """Open the lock file at `path` without taking the lock."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def share(self) -> None:
        """Wait until no process holds the lock exclusively, then share it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def exclude(self) -> None:
        """Wait until no other process holds the lock, then take it exclusively."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def try_exclude(self) -> bool:
        """Take the lock exclusively if it is free, and return whether it was."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock; it can be taken again."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file. If a child has the lock too, it is held until the child ends."""
        os.close(self.descriptor)


@contextmanager
def excluding(path: Path) -> Iterator[None]:
    """Wait for the lock at `path`, and hold it exclusively during the block."""
    lock = Lock.at(path)
    try:
        lock.exclude()
        yield
    finally:
        lock.close()
