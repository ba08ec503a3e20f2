"""Operations on the files of tasks and nodes."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from local_azure.batch import node_files, views, wire
from local_azure.batch.error_codes import BatchError
from local_azure.batch.node_files import File
from local_azure.batch.operations import service_of
from local_azure.batch.state import NodeState, TaskState

CHUNK_BYTES = 1 << 18
_NO_FILES = {NodeState.CREATING, NodeState.STARTING, NodeState.PREEMPTED, NodeState.LEAVING_POOL}


async def listing(request: Request) -> Response:
    root = _root(request)
    recursive = wire.parameters(request).get("recursive", "false").lower() == "true"
    files = await asyncio.to_thread(lambda: list(node_files.listing(root, recursive=recursive)))
    view = views.file(_url(request))
    return wire.page(request, ((file.name, file) for file in files), view, filterable=("name",))


async def get(request: Request) -> Response:
    file = node_files.find(_root(request), request.path_params["file"])
    if file.is_folder:
        raise BatchError("OperationInvalidForCurrentState", Reason="This is a directory")
    if wire.not_modified(request, "", file.modified):
        return wire.empty(304, modified=file.modified)
    start, end = byte_range(request.headers.get("ocp-range"), file.bytes)
    headers = _headers(request, file) | {"Content-Length": str(end - start)}
    return StreamingResponse(
        _read(file.path, start, end), headers=headers, media_type="application/octet-stream"
    )


async def head(request: Request) -> Response:
    file = node_files.find(_root(request), request.path_params["file"])
    headers = _headers(request, file) | {"Content-Length": str(file.bytes)}
    return Response(headers=headers, media_type="application/octet-stream")


async def delete(request: Request) -> Response:
    file = node_files.find(_root(request), request.path_params["file"])
    recursive = wire.parameters(request).get("recursive", "false").lower() == "true"
    try:
        await asyncio.to_thread(_delete, file, recursive=recursive)
    except OSError as error:
        raise BatchError("OperationInvalidForCurrentState", Reason=error.strerror) from None
    return wire.empty(200)


def _delete(file: File, *, recursive: bool) -> None:
    if file.is_folder and recursive:
        shutil.rmtree(file.path)
    elif file.is_folder:
        file.path.rmdir()
    else:
        file.path.unlink()


def byte_range(text: str | None, size: int) -> tuple[int, int]:
    """Return the start and end (exclusive) of `bytes=a-b`, or of the whole file."""
    if text is None:
        return 0, size
    found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", text, re.ASCII)
    if not found:
        raise BatchError("InvalidHeaderValue", HeaderName="ocp-range", HeaderValue=text[:200])
    start = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    if start >= size or end <= start:
        raise BatchError("InvalidRange")
    return start, end


async def _read(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    with path.open("rb") as source:
        source.seek(start)
        while start < end:
            chunk = await asyncio.to_thread(source.read, min(CHUNK_BYTES, end - start))
            if not chunk:
                return
            start += len(chunk)
            yield chunk


def _headers(request: Request, file: File) -> dict[str, str]:
    return {
        "Last-Modified": wire.format_http_time(file.modified),
        "ocp-creation-time": wire.format_http_time(file.modified),
        "ocp-batch-file-isdirectory": str(file.is_folder),
        "ocp-batch-file-url": _url(request),
        "ocp-batch-file-mode": file.mode,
    }


def _url(request: Request) -> str:
    return f"{wire.base(request)}{quote(request.url.path)}"


def _root(request: Request) -> Path:
    """Return the folder of the request's task or node."""
    service, names = service_of(request), request.path_params
    if "node" in names:
        node = service.registry.node(names["pool"], names["node"])
        if node.state in _NO_FILES:
            raise BatchError("OperationInvalidForCurrentState", Reason=f"The node is {node.state}")
        return node.folder
    task = service.registry.task(names["job"], names["task"])
    if task.state is TaskState.ACTIVE:
        reason = "The files of the specified task cannot be accessed as the task is still active"
        raise BatchError("OperationInvalidForCurrentState", Reason=reason)
    if task.folder is None or not task.folder.is_dir():
        raise BatchError("TaskFilesUnavailable")
    return task.folder
