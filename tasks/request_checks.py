"""Checks of a request that need neither an account nor the content of a source."""

import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from tasks.errors import UsageError
from tasks.files import SPECIAL, check_allowed, is_special, local_path, real_path
from tasks.media.addresses import AZURE, is_blob, split_address
from tasks.media.sources import NAME_A_SOURCE, check_sources_exist, search_roots
from tasks.models import Conversion, Source
from tasks.naming import log_container, memory_container
from tasks.outputs import local_target
from tasks.parameters import Output, Request
from tasks.results.picture import path_beside

NAME_A_REPORT = "Name a file for --report."


def check_request(request: Request) -> None:
    """Check everything that can be checked before sources are looked up.

    Raises:
        UsageError: A source, an output or a path cannot be used.
    """
    if not request.sources:
        raise UsageError("No source is given.", NAME_A_SOURCE)
    check_allowed(search_roots(request.sources))
    check_sources_exist(request.sources)
    check_overlap(request.sources, request.output)
    check_allowed(path for path in (request.output.download_to, request.output.report) if path)
    check_targets(request.output)
    check_containers(request)


def check_containers(request: Request) -> None:
    """Check that outputs and uploads are not where failures are remembered, or nodes log."""
    uploads = request.cleanup.container
    reserved = {
        memory_container(uploads): "the memory of known failures",
        log_container(uploads): "the logs of nodes",
    }
    for container in (request.output.container, uploads):
        if purpose := reserved.get(container):
            raise UsageError(
                f"The container {container!r} is reserved for {purpose}.",
                "Choose another --container or another --cleanup.container.",
            )


def check_targets(output: Output) -> None:
    folder, report = local_path(output.download_to), local_path(output.report)
    if output.download_to and not is_writable(folder):
        raise UsageError(
            f"{folder} is not a writable folder.",
            "Choose another folder for --download-to.",
        )
    if output.report and report.is_dir():
        raise UsageError(f"The report {report} is a folder.", NAME_A_REPORT)
    if output.report and is_special(report):
        raise UsageError(f"The report {report} cannot be written: {SPECIAL}.", NAME_A_REPORT)
    if output.report and not is_writable(report.parent):
        raise UsageError(
            f"{report.parent} is not a writable folder.",
            "Choose another file for --report.",
        )


def is_writable(folder: Path) -> bool:
    """Return whether a file can be created in the folder, or in the nearest one that exists."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError:  # permissions alone do not show it: /proc looks writable
        return False
    return True


def check_overlap(patterns: Iterable[str], output: Output) -> None:
    """Check that the next run would not find this run's outputs among the sources.

    Raises:
        UsageError: An output folder or prefix is inside a source, or the other way round.
    """
    for pattern in patterns:
        if pattern.startswith(AZURE):
            if overlaps_container(pattern, output):
                raise UsageError(
                    f"The output container and prefix overlap the source {pattern!r}, so the next"
                    " run would convert its own outputs.",
                    "Choose another output container or prefix.",
                )
        elif output.download_to and is_inside(output.download_to, pattern):
            raise UsageError(
                f"--download-to is inside the source folder {pattern!r}, so the next run would"
                " convert its own outputs.",
                "Choose another folder.",
            )


def overlaps_container(address: str, output: Output) -> bool:
    container, prefix = split_address(address)
    folder = f"{output.prefix.rstrip('/')}/" if output.prefix else ""
    return container == output.container and (
        prefix.startswith(folder) or folder.startswith(prefix)
    )


def is_inside(path: str, folder: str) -> bool:
    real = real_path(folder)
    return real.is_dir() and real_path(path).is_relative_to(real)


def check_report(sources: Iterable[Source], output: Output) -> None:
    """Check that neither the report nor the picture beside it would replace a source.

    Raises:
        UsageError: A source has the path of one of them.
    """
    if not output.report:
        return
    report = local_path(output.report)
    files = [source for source in sources if not is_blob(source)]
    for path in (report, path_beside(report)):
        if is_among(path, files):
            raise UsageError(
                f"With the report {report}, {path} would be written, but it is a source.",
                "Choose another file for --report.",
            )


def is_among(path: Path, sources: Iterable[Source]) -> bool:
    """Return whether a path is one of these local sources, also through a link."""
    absolute = str(path.absolute())
    try:
        found = path.stat()
    except OSError:
        return any(source.location == absolute for source in sources)
    version = found.st_size, str(found.st_mtime_ns)
    return any(
        source.location == absolute
        or ((source.size_bytes, source.version) == version and is_same_file(source.location, found))
        for source in sources
    )


def is_same_file(location: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(Path(location).stat(), found)
    except OSError:
        return False


def check_downloads(conversions: Collection[Conversion], output: Output) -> None:
    """Check that each download has a place of its own in the allowed folders.

    Raises:
        UsageError: A download would overwrite a source, the report would overwrite a download, or a
            link leads out of an allowed folder.
    """
    if not output.download_to:
        return
    check_allowed({local_target(c.output, output).parent for c in conversions})
    report = real_path(output.report) if output.report else None
    for conversion in conversions:
        source = conversion.source
        target = real_path(local_target(conversion.output, output))
        if report and target.is_relative_to(report):
            raise UsageError(
                f"The output of {source.location!r} would be downloaded to {target}, which is"
                " where the report would be written.",
                "Choose another file for --report.",
            )
        if not is_blob(source) and target == real_path(source.location):
            raise UsageError(
                f"The output of {source.location!r} would be downloaded over the source itself.",
                "Choose another folder for --download-to.",
            )
