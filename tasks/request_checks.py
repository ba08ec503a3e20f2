"""Checks of a request that need neither an account nor the content of a source."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tasks.errors import UsageError
from tasks.files import check_allowed, local_path
from tasks.media.addresses import AZURE, is_blob, split_address
from tasks.media.sources import NAME_A_SOURCE, check_sources_exist, search_roots
from tasks.models import Conversion
from tasks.naming import memory_container
from tasks.outputs import local_target
from tasks.parameters import Output, Request


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
    """Check that nodes will not write where failures are remembered."""
    if request.output.container == memory_container(request.cleanup.container):
        raise UsageError(
            f"The container {request.output.container!r} is reserved for failures to remember.",
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
        raise UsageError(f"The report {report} is a folder.", "Name a file for --report.")
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
    resolved = local_path(folder).resolve()
    return resolved.is_dir() and local_path(path).resolve().is_relative_to(resolved)


def check_downloads(conversions: Iterable[Conversion], output: Output) -> None:
    """Check that no download would overwrite a source.

    Raises:
        UsageError: A download would overwrite a source.
    """
    if not output.download_to:
        return
    for conversion in conversions:
        source = conversion.source
        target = local_target(conversion.output, output).resolve()
        if not is_blob(source) and target == Path(source.location).resolve():
            raise UsageError(
                f"The output of {source.location!r} would be downloaded over the source itself.",
                "Choose another folder for --download-to.",
            )
