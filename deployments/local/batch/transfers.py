"""Resource files down to a node, output files up from it: streamed, never whole in memory."""

import asyncio
import glob
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployments.local.batch import folders
from deployments.local.batch.specs import (
    ContainerDestination,
    IdentityReference,
    OutputFile,
    ResourceFile,
)
from deployments.local.batch.state import Failure

if TYPE_CHECKING:
    import aiohttp
    from azure.storage.blob import ContentSettings

    from deployments.local.batch.identity import NodeIdentity

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20  # aiohttp warns of larger bodies
ATTEMPTS = 3
WILDCARDS = frozenset("*?[")
_CONTENT_HEADERS = {
    "content-type": "content_type",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
    "content-disposition": "content_disposition",
    "cache-control": "cache_control",
}


class TransferError(Exception):
    """A download or an upload failed for good."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class Transfers:
    """Downloads and uploads over one session, made when it is first needed."""

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
        """Puts the file into `folder`; raises TransferError."""
        target = folder / file.file_path
        if not _leads_into(node_folder, target):
            raise TransferError(_download_failure(file, 0, "A link leads out of the node"))
        failure = Failure(code="BlobDownloadMiscError", message="")
        for attempt in range(ATTEMPTS):
            failure = await self._try_download(file, target)
            if not failure.message:
                if file.file_mode:
                    target.chmod(int(file.file_mode, 8))
                return
            if failure.code != "BlobDownloadMiscError" or attempt == ATTEMPTS - 1:
                break
            await asyncio.sleep(0.2 * 3**attempt)
        raise TransferError(failure)

    async def _try_download(self, file: ResourceFile, target: Path) -> Failure:
        import aiohttp
        from yarl import URL

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            identity = self._acting_as(file.identity_reference)
            headers = identity.headers() if identity else None
            url = URL(file.http_url, encoded=True)
            async with self.session.get(url, headers=headers) as response:
                if response.status != 200:  # noqa: PLR2004 - HTTP's OK
                    return _download_failure(file, response.status, str(response.reason))
                with target.open("wb") as sink:
                    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                        sink.write(chunk)
        except LookupError as error:
            return _download_failure(file, 401, str(error))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return _download_failure(file, 0, type(error).__name__)
        return Failure(code="", message="")

    async def upload(self, files: Sequence[OutputFile], *, folder: Path, node_folder: Path) -> None:
        """Sends every file of a task in `folder` that can be sent, logging beside stdout.txt.

        Raises TransferError for the first that could not.
        """
        failures: list[TransferError] = []
        try:
            with (
                folders.open_own(folder / "fileuploadout.txt", "a") as out,
                folders.open_own(folder / "fileuploaderr.txt", "a") as errors,
            ):
                for file in files:
                    try:
                        async for sent in self._upload_all(file, folder / "wd", node_folder):
                            out.write(f"{sent}\n")
                    except TransferError as error:
                        errors.write(f"{error.failure.code}: {error.failure.message}\n")
                        failures.append(error)
        except OSError as error:  # the task has removed its folder, or put something there
            raise TransferError(_log_failure(error)) from error
        if failures:
            raise failures[0]

    async def _upload_all(
        self, file: OutputFile, working_folder: Path, node_folder: Path
    ) -> AsyncIterator[str]:
        """Sends what the pattern means; yields a line for each file that is up."""
        found = await asyncio.to_thread(
            matches, file, working_folder=working_folder, node_folder=node_folder
        )
        for source, name in found:
            await self._upload_one(file.destination.container, source, name)
            yield f"{source.name} -> {name}"

    async def _upload_one(self, to: ContainerDestination, source: Path, name: str) -> None:
        from azure.core.exceptions import AzureError
        from azure.core.pipeline.transport import AioHttpTransport
        from azure.storage.blob.aio import ContainerClient, ExponentialRetry

        metadata, settings = _headers(to)
        try:
            container = ContainerClient.from_container_url(
                to.container_url,
                credential=self._acting_as(to.identity_reference),
                max_single_put_size=BLOCK_BYTES,
                max_block_size=BLOCK_BYTES,
                retry_policy=ExponentialRetry(
                    initial_backoff=0, increment_base=2, retry_total=3, random_jitter_range=0
                ),
                transport=AioHttpTransport(session=self.session, session_owner=False),
            )
            with source.open("rb") as data:
                await container.upload_blob(
                    name, data, overwrite=True, metadata=metadata, content_settings=settings
                )
        except (AzureError, LookupError, OSError, ValueError) as error:
            raise TransferError(_upload_failure(source, to, error)) from error

    def _acting_as(self, reference: IdentityReference | None) -> "NodeIdentity | None":
        """Raises LookupError where the pool has no such identity."""
        if reference is None:
            return None
        if self._identity is None or not self._identity.is_meant(reference):
            raise LookupError("The pool does not have this identity")
        return self._identity


def matches(file: OutputFile, *, working_folder: Path, node_folder: Path) -> list[tuple[Path, str]]:
    """The files that the pattern means, each with the name of its blob.

    With a wildcard the destination's path is a folder; without, it is the blob's name.
    Raises TransferError when a pattern without wildcards has no file.
    """
    pattern, path = file.file_pattern, file.destination.container.path
    if not WILDCARDS & set(pattern):
        source = working_folder / pattern
        if not _is_file_of(node_folder, source):
            raise TransferError(
                Failure(
                    code="FileUploadMiscError",
                    message="The output file does not exist on the node",
                    details={"FilePath": pattern},
                )
            )
        return [(source, path or _blob_name(pattern))]
    # pathlib refuses the `..` that the patterns of logs begin with
    names = glob.glob(pattern, root_dir=working_folder, recursive=True)  # noqa: PTH207
    return [
        (source, "/".join(part for part in (path, _blob_name(name)) if part))
        for name in sorted(names)
        if _is_file_of(node_folder, source := working_folder / name)
    ]


def _is_file_of(node_folder: Path, path: Path) -> bool:
    """Whether this is a file of the node: a link, or a pattern, may lead anywhere."""
    return path.is_file() and _leads_into(node_folder, path)


def _leads_into(node_folder: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(node_folder)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _blob_name(name: str) -> str:
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("..", "/"))


def _headers(to: ContainerDestination) -> tuple[dict[str, str], "ContentSettings | None"]:
    from azure.storage.blob import ContentSettings

    metadata: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for header in to.upload_headers or ():
        name = header.name.lower()
        if name.startswith("x-ms-meta-"):
            metadata[name.removeprefix("x-ms-meta-")] = header.value
        else:
            settings[_CONTENT_HEADERS[name.removeprefix("x-ms-blob-")]] = header.value
    return metadata, ContentSettings(**settings) if settings else None


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
        message="The logs of the upload cannot be written",
        details={"Reason": str(error.strerror)},
    )


def _upload_failure(source: Path, to: ContainerDestination, error: Exception) -> Failure:
    status = getattr(error, "status_code", None)
    code_given = getattr(error, "error_code", None) or ""
    azure_code = str(getattr(code_given, "value", code_given))
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
    """The URL without what may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
