"""Listings of the blobs in a container.

https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import ContentDecodePolicy

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

PAGES = 40  # a page has 1/40 of the blobs listed so far, so that buffers stay small beside those
MIN_PAGE_SIZE, MAX_PAGE_SIZE = 250, 5_000  # blobs of 3 KB each until they are read

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """A blob in a listing."""

    name: str
    size_bytes: int
    etag: str
    md5: str  # in Base64; empty if the blob has none
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LeasableBlob:
    """A blob in a listing, and whether a lease on it is in force."""

    name: str
    is_leased: bool
    metadata: Mapping[str, str]


async def list_blobs(
    container: "ContainerClient", prefix: str = "", *, min_page_size: int = MIN_PAGE_SIZE
) -> AsyncIterator[ListedBlob]:
    """Yield all blobs whose names begin with the prefix.

    Raises:
        ResourceNotFoundError: The container does not exist.
    """
    async for page in list_pages(container, prefix, min_page_size=min_page_size):
        for blob in page:
            yield blob


async def list_pages(
    container: "ContainerClient", prefix: str = "", *, min_page_size: int = MIN_PAGE_SIZE
) -> AsyncIterator[list[ListedBlob]]:
    """Yield the same blobs in pages."""
    pages = _list(container, prefix, read_blob, include=["metadata"], min_page_size=min_page_size)
    async for page in pages:
        yield page


async def list_names(container: "ContainerClient", prefix: str) -> AsyncIterator[str]:
    """Yield only the names, at a third of the cost."""
    pages = _list(container, prefix, read_name, include=None, min_page_size=MIN_PAGE_SIZE)
    async for page in pages:
        for name in page:
            yield name


async def list_leases(container: "ContainerClient", prefix: str) -> list[LeasableBlob]:
    """Return the few blobs under a prefix, with the states of their leases."""
    pages = _list(container, prefix, read_lease, include=["metadata"], min_page_size=MIN_PAGE_SIZE)
    return [blob async for page in pages for blob in page]


async def _list(
    container: "ContainerClient",
    prefix: str,
    read: Callable[[Element], Found],
    *,
    include: list[str] | None,
    min_page_size: int,
) -> AsyncIterator[list[Found]]:
    """Yield pages, each larger than the page before.

    This uses the SDK's listing of names, because the SDK keeps its parsed XML. The SDK's model of
    a blob takes 0.2 ms and 10 KB, ten times as much as reading only the fields of `ListedBlob`.
    """
    listed, marker = 0, None
    while marker != "":
        requests: list[PipelineRequest[Any]] = []  # a request's context has the parsed response
        names = container.list_blob_names(
            name_starts_with=prefix or None,
            include=include,
            results_per_page=min(max(min_page_size, listed // PAGES), MAX_PAGE_SIZE),
            raw_request_hook=requests.append,
        )
        await anext(names.by_page(continuation_token=marker))
        page, marker = read_page(requests.pop(), read)
        listed += len(page)
        yield page


def read_page(
    request: PipelineRequest[Any], read: Callable[[Element], Found]
) -> tuple[list[Found], str]:
    """Return the blobs and the marker of the next page, and drop the parsed response."""
    tree: Element = request.context.pop(ContentDecodePolicy.CONTEXT_NAME)
    return [read(blob) for blob in tree.iterfind("Blobs/Blob")], tree.findtext("NextMarker", "")


def read_name(blob: Element) -> str:
    name = blob.findtext("Name", "")
    is_encoded = (
        blob.find("Name[@Encoded='true']") is not None
    )  # has characters that XML cannot contain
    return unquote(name) if is_encoded else name


def read_lease(blob: Element) -> LeasableBlob:
    return LeasableBlob(
        name=read_name(blob),
        is_leased=blob.findtext("Properties/LeaseStatus") == "locked",  # not if it has expired
        metadata=read_metadata(blob),
    )


def read_metadata(blob: Element) -> dict[str, str]:
    return {item.tag: item.text or "" for item in blob.iterfind("Metadata/*")}


def read_blob(blob: Element) -> ListedBlob:
    return ListedBlob(
        name=read_name(blob),
        size_bytes=int(blob.findtext("Properties/Content-Length", "0")),
        etag=blob.findtext("Properties/Etag", "").strip('"'),
        md5=blob.findtext("Properties/Content-MD5", ""),
        metadata=read_metadata(blob),
    )
