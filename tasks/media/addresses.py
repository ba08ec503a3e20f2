"""Addresses of blobs: `az://container/prefix`."""

from tasks.errors import UsageError
from tasks.models import Source

AZURE = "az://"


def split_address(address: str) -> tuple[str, str]:
    """Split `az://container/prefix` into container and prefix.

    Raises:
        UsageError: The address has no container.
    """
    container, _, prefix = address.removeprefix(AZURE).partition("/")
    if not container:
        raise UsageError(f"{address!r} does not name a container.", "Write az://container/prefix.")
    return container, prefix


def is_blob(source: Source) -> bool:
    return source.location.startswith(AZURE)
