"""Addresses of blobs: `az://container/some/prefix`."""

from tasks.errors import UsageError
from tasks.models import Source

AZURE = "az://"


def split_address(address: str) -> tuple[str, str]:
    """`az://container/some/prefix` as container and prefix."""
    container, _, prefix = address.removeprefix(AZURE).partition("/")
    if not container:
        raise UsageError(f"{address!r} names no container.", "Write az://container/prefix.")
    return container, prefix


def is_blob(source: Source) -> bool:
    return source.location.startswith(AZURE)
