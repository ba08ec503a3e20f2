"""Files that are whole or absent."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def fresh_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name, in the place of what has it, once the block has written it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        path = Path(file.name)
        try:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)
