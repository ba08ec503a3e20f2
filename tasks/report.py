"""The report: the result of every source, as a JSON file and as a picture."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob import ContentSettings

from tasks.azure.clients import blob_service
from tasks.azure.error_wording import explain
from tasks.errors import ReportUnwrittenError
from tasks.files import (
    keep_earlier,
    keep_foreign,
    local_path,
    move_aside,
    open_atomically,
    written_at,
)
from tasks.naming import OWN
from tasks.parameters import Request
from tasks.results.ledger import DONE, Ledger
from tasks.results.picture import draw, is_picture, path_beside
from tasks.results.run_report import Report, build_report, is_report
from tasks.results.text import labels
from tasks.stage import stage

logger = logging.getLogger(__name__)
PICTURE_BYTES = 1 << 20  # of a picture to keep in memory: enough for about 5,000 files
LOGGED_FILES = 1000  # the report file has all


@stage("report")
async def make_report(ledger: Ledger) -> Report:
    """Build the report, store the picture beside the outputs, and write the report file.

    Raises:
        ReportUnwrittenError: The report file cannot be written. The error has the report.
    """
    report = build_report(ledger, now=datetime.now(UTC))
    await store_picture(report, ledger)
    if not ledger.request.run.dry_run:
        log_unconverted(report)
    write_files(report, ledger.request)
    return report


def write_report(ledger: Ledger) -> Report:
    """Build the report and write the report file, but store nothing in Azure.

    Raises:
        ReportUnwrittenError: The report file cannot be written. The error has the report.
    """
    report = build_report(ledger, now=datetime.now(UTC))
    write_files(report, ledger.request)
    return report


def log_unconverted(report: Report) -> None:
    files = report.files[:LOGGED_FILES]
    for file, label in zip(files, labels(files), strict=True):
        if file.state not in DONE:
            logger.warning("%s: %s: %s", label, file.state.replace("_", " "), file.reason)


def write_files(report: Report, request: Request) -> None:
    """Write the report file, if one was requested, and the picture beside it.

    Those of an earlier run get a name that says when it ended. The user's own files are kept aside.
    """
    if not request.output.report or request.run.dry_run:
        return
    path = local_path(request.output.report)
    picture = path_beside(path)
    earlier = written_at(path) or written_at(picture)
    try:
        with open_atomically(path) as file:
            for piece in report.as_json():
                file.write(piece.encode())
            keep_foreign(path, is_ours=is_report)
            keep_earlier(path, moment=earlier)
        write_picture(report, picture, earlier=earlier)
    except OSError as error:
        raise ReportUnwrittenError(
            f"The report {path} cannot be written: {error.strerror}.",
            "Free some space or choose another file, then run again. Converted files are kept.",
            report,
        ) from error


def write_picture(report: Report, path: Path, *, earlier: datetime | None) -> None:
    with open_atomically(path) as file:
        draw(report, file)
        if path.is_file():
            keep_foreign(path, is_ours=is_picture)
            keep_earlier(path, moment=earlier)
        else:  # the user did not choose this path, so a pipe or a folder is kept aside too
            move_aside(path)


async def store_picture(report: Report, ledger: Ledger) -> None:
    """Store the picture beside the outputs. A failure is logged and does not fail the run."""
    if not (name := report.run.picture):
        return
    settings = ContentSettings(content_type="text/html; charset=utf-8")
    metadata = OWN | {"run": ledger.ticket.run_id}
    try:
        with SpooledTemporaryFile(max_size=PICTURE_BYTES) as page:
            draw(report, page)
            page.seek(0)
            async with blob_service() as service:
                blob = service.get_blob_client(ledger.request.output.container, name)
                await blob.upload_blob(
                    page, overwrite=False, metadata=metadata, content_settings=settings
                )
        logger.info("Picture of this run: %s", name)
    except ResourceExistsError:  # an earlier try stored it
        pass
    except AzureError as error:
        logger.warning("The picture could not be stored. %s", explain(error).problem)
    except OSError as error:
        logger.warning("The picture could not be stored: %s", error.strerror)
