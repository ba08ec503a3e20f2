"""Downloads of resource files and uploads of output files, streamed.

Each is one request without the storage SDK, whose pipeline takes five times the CPU of the request.
"""

import asyncio
import base64
import io
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import quote, urlsplit

from local_azure.batch import node_files
from local_azure.batch.output_patterns import has_wildcard, leads_into, matching_files
from local_azure.batch.run import Failure
from local_azure.batch.specs import (
    ContainerDestination,
    IdentityReference,
    OutputFile,
    ResourceFile,
)

if TYPE_CHECKING:
    import aiohttp

    from local_azure.batch.node_identity import NodeIdentity

CHUNK_BYTES = 1 << 20
LARGEST_PUT_BYTES = 4000 << 20  # of a block: larger files are uploaded in several
STORAGE_VERSION = "2021-12-02"  # of the REST API; required with tokens
PAUSES_SECONDS = (0.2, 0.6, 1.8)


class TransferError(Exception):
    """A download or upload failed after all retries."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class Transfers:
    """Downloads and uploads over one HTTP session, which is opened at its first use."""

    def __init__(
        self, *, bundle: Path | None = None, identity: "NodeIdentity | None" = None
    ) -> None:
        self._bundle = bundle
        self._identity = identity
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            trusted = ssl.create_default_context(cafile=self._bundle)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=120),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def download(self, file: ResourceFile, *, folder: Path, node_folder: Path) -> None:
        """Download the file into `folder`.

        Raises:
            TransferError: The download failed.
        """
        target = folder / file.file_path
        if not leads_into(node_folder, target):
            raise TransferError(_download_failure(file, 0, "A link leads out of the node"))
        if node_files.is_special(target):  # the task's first try left it
            raise TransferError(_download_failure(file, 0, "A pipe, a socket or a device is there"))
        if failure := await _persist(lambda: self._try_download(file, target)):
            raise TransferError(failure)
        if file.file_mode:
            target.chmod(int(file.file_mode, 8))

    async def _try_download(self, file: ResourceFile, target: Path) -> Failure | None:
        import aiohttp
        from yarl import URL

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            headers = self._authorization(file.identity_reference)
            url = URL(file.http_url, encoded=True)
            async with self.session.get(url, headers=headers) as response:
                if response.status != 200:  # noqa: PLR2004  HTTP's OK
                    return _download_failure(file, response.status, str(response.reason))
                with target.open("wb") as sink:
                    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                        sink.write(chunk)
        except LookupError as error:
            return _download_failure(file, 401, str(error))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return _download_failure(file, 0, type(error).__name__)
        return None

    async def upload(self, files: Sequence[OutputFile], *, folder: Path) -> None:
        """Upload the files of a task in `folder`, with logs beside stdout.txt.

        Raises:
            TransferError: An upload failed. The other files were uploaded all the same.
        """
        failures: list[TransferError] = []
        try:
            with (
                node_files.open_own(folder / "fileuploadout.txt", "a") as out,
                node_files.open_own(folder / "fileuploaderr.txt", "a") as errors,
            ):
                for file in files:
                    try:
                        async for sent in self._upload_all(file, folder):
                            out.write(f"{sent}\n")
                    except TransferError as error:
                        errors.write(log_line(file, error.failure, folder=folder))
                        failures.append(error)
        except OSError as error:  # the task removed its folder, or created a file of that name
            raise TransferError(_log_failure(error)) from error
        if failures:
            raise failures[0]

    async def _upload_all(self, file: OutputFile, folder: Path) -> AsyncIterator[str]:
        """Upload the files that match; yield a line of the log for each."""
        found = await asyncio.to_thread(outputs_of, file, folder=folder)
        to = file.destination.container
        for source, name in found:
            if failure := await _persist(partial(self._try_upload, to, source, name)):
                raise TransferError(failure)
            yield f"{source.name} -> {name}"

    async def _try_upload(
        self, to: ContainerDestination, source: Path, name: str
    ) -> Failure | None:
        import aiohttp

        try:
            headers = self._authorization(to.identity_reference)
            with source.open("rb") as data:
                await self._send(data, _blob_url(to, name), headers, stamps=_stamps(to))
        except (aiohttp.ClientError, LookupError, TimeoutError, OSError, ValueError) as error:
            return _upload_failure(source, to, error)
        return None

    async def _send(
        self, data: IO[bytes], url: str, headers: Mapping[str, str], *, stamps: Mapping[str, str]
    ) -> None:
        """Upload a blob in one request, or in blocks if it is too large."""
        size = os.fstat(data.fileno()).st_size
        if size <= LARGEST_PUT_BYTES:
            kind = {"x-ms-blob-type": "BlockBlob"}
            await self._put(url, data, size, {**headers, **stamps, **kind})
            return
        more = f"{url}{'&' if '?' in url else '?'}comp="
        blocks = []
        for start in range(0, size, LARGEST_PUT_BYTES):
            block = base64.b64encode(b"%016d" % start).decode()
            part = min(LARGEST_PUT_BYTES, size - start)
            await self._put(f"{more}block&blockid={quote(block)}", data, part, headers)
            blocks.append(f"<Latest>{block}</Latest>")
        listed = f"<BlockList>{''.join(blocks)}</BlockList>".encode()
        await self._put(f"{more}blocklist", io.BytesIO(listed), len(listed), {**headers, **stamps})

    async def _put(self, url: str, data: IO[bytes], size: int, headers: Mapping[str, str]) -> None:
        from yarl import URL

        # aiohttp would copy a large body of bytes. A stream requires a Content-Length.
        content = data.read(size) if size <= CHUNK_BYTES else _chunks(data, size)
        common = {"x-ms-version": STORAGE_VERSION, "Content-Length": str(size)}
        async with self.session.put(
            URL(url, encoded=True),
            data=content,
            headers={**headers, **common},
            allow_redirects=False,
            raise_for_status=True,
        ):
            pass

    def _authorization(self, reference: IdentityReference | None) -> dict[str, str]:
        """Return the headers of a request with the identity.

        Raises:
            LookupError: The pool does not have this identity.
        """
        if reference is None:
            return {}
        if self._identity is None or not self._identity.is_meant(reference):
            raise LookupError("The pool does not have this identity")
        return {"Authorization": self._identity.bearer(), "x-ms-version": STORAGE_VERSION}


async def _persist(attempt: Callable[[], Awaitable[Failure | None]]) -> Failure | None:
    """Retry while the failure may pass; return the last one."""
    for seconds in PAUSES_SECONDS:
        failure = await attempt()
        if failure is None or not failure.code.endswith("MiscError"):
            return failure
        await asyncio.sleep(seconds)
    return await attempt()


async def _chunks(data: IO[bytes], size: int) -> AsyncIterator[bytes]:
    while chunk := data.read(min(CHUNK_BYTES, size)):
        size -= len(chunk)
        yield chunk


def fail_upload(file: OutputFile, failure: Failure, *, folder: Path) -> NoReturn:
    """Log a failure that was ordered.

    Raises:
        TransferError: The failure, or the log cannot be written.
    """
    try:
        with node_files.open_own(folder / "fileuploaderr.txt", "a") as errors:
            errors.write(log_line(file, failure, folder=folder))
    except OSError as error:
        raise TransferError(_log_failure(error)) from error
    raise TransferError(failure)


def log_line(file: OutputFile, failure: Failure, *, folder: Path) -> str:
    """Return a line of fileuploaderr.txt in Azure's format, which has the SAS token in it.

    https://github.com/Azure/Batch/issues/68
    """
    line = {
        "code": failure.code,
        "user_error": failure.category == "usererror",
        "pattern": file.file_pattern,
        "file": os.path.normpath(folder / "wd" / file.file_pattern),
        "destination": file.destination.container.container_url,
    }
    return json.dumps(line) + "\n"


def outputs_of(file: OutputFile, *, folder: Path) -> list[tuple[Path, str]]:
    """Return the files of a task that match, each with the name of its blob.

    The destination's path is a folder if the pattern has a wildcard, and the blob's name if not.

    Raises:
        TransferError: A pattern without wildcards matches no file.
    """
    pattern, path = file.file_pattern, file.destination.container.path
    found = matching_files(pattern, task_folder=folder)
    if has_wildcard(pattern):
        return [
            (source, "/".join(part for part in (path, _blob_name(name)) if part))
            for source, name in found
        ]
    if not found:
        raise TransferError(
            Failure(
                code="FileUploadMiscError",
                message="The output file does not exist on the node",
                details={"FilePath": pattern},
            )
        )
    return [(found[0][0], path or _blob_name(pattern))]


def _blob_name(name: str) -> str:
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("..", "/"))


def _blob_url(to: ContainerDestination, name: str) -> str:
    container, *query = to.container_url.split("?", 1)
    return "?".join([f"{container.rstrip('/')}/{quote(name, safe='/~')}", *query])


def _stamps(to: ContainerDestination) -> dict[str, str]:
    """Return the headers that set the blob's metadata and content properties."""
    named = {header.name.lower(): header.value for header in to.upload_headers or ()}
    return {
        name if name.startswith("x-ms-") else f"x-ms-blob-{name}": value
        for name, value in named.items()
    }


def _download_failure(file: ResourceFile, status: int, reason: str) -> Failure:
    code, message = {
        404: ("BlobNotFound", "One of the specified Azure Blob(s) is not found"),
        401: ("BlobAccessDenied", "Access for one of the specified Azure Blob(s) is denied"),
        403: ("BlobAccessDenied", "Access for one of the specified Azure Blob(s) is denied"),
    }.get(
        status,
        ("BlobDownloadMiscError", "Miscellaneous error while downloading an Azure Blob"),
    )
    return Failure(
        code=code,
        message=message,
        details={
            "BlobSource": without_query(file.http_url),
            "FilePath": file.file_path,
            "HttpStatusCode": str(status or ""),
            "Reason": reason,
        },
    )


def _log_failure(error: OSError) -> Failure:
    return Failure(
        code="FileUploadMiscError",
        message="The logs of the upload are not writable",
        details={"Reason": str(error.strerror)},
    )


def _upload_failure(source: Path, to: ContainerDestination, error: Exception) -> Failure:
    status = getattr(error, "status", None)
    azure_code = (getattr(error, "headers", None) or {}).get("x-ms-error-code", "")
    if azure_code == "ContainerNotFound":
        code, message = "FileUploadContainerNotFound", "The output container does not exist"
    elif status in (401, 403) or isinstance(error, LookupError):
        code, message = "FileUploadAccessDenied", "Access to the output container is denied"
    else:
        code, message = "FileUploadMiscError", "Miscellaneous error while uploading a file"
    return Failure(
        code=code,
        message=message,
        details={
            "FilePath": source.name,
            "ContainerUrl": without_query(to.container_url),
            "HttpStatusCode": str(status or ""),
            "Reason": f"{type(error).__name__} {azure_code}".strip(),
        },
    )


def without_query(url: str) -> str:
    """Return the URL without its query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
