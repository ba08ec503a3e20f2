"""The first stage: what is there, what is done, and what can be done. It makes nothing."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob.aio import BlobServiceClient

from tasks.azure.clients import BLOCK_BYTES, blob_service
from tasks.azure.sas import Signer, make_signer
from tasks.concurrency import cancel_all
from tasks.errors import UsageError
from tasks.files import check_allowed, local_path
from tasks.media.addresses import AZURE, is_blob, split_address
from tasks.media.hashing import hash_sources
from tasks.media.output_names import name_outputs, naming_problem
from tasks.media.presets import Preset
from tasks.media.sandbox import ProbeProcess, ProbeResult, probe_each
from tasks.media.sources import (
    NAME_A_SOURCE,
    UNREADABLE,
    check_sources_exist,
    find_blobs,
    find_local_files,
    search_roots,
)
from tasks.media.streams import (
    UnreadableMedia,
    exceeded_limit,
    expected_seconds,
    missing_stream,
    source_arguments,
)
from tasks.models import Conversion, Plan, Refusal, Source, Stamp
from tasks.outputs import list_outputs, local_target
from tasks.parameters import Output, Request, Run
from tasks.stage import retry_if_answered, stage

LARGEST_UPLOAD_BYTES = 50_000 * BLOCK_BYTES  # so many blocks has a blob at most


@stage("plan", retry_condition=retry_if_answered)
async def make_plan(request: Request) -> Plan:
    """Find, hash, name and probe the sources.

    Raises:
        UsageError: a source is not there, none is there at all, or sources and outputs overlap.
    """
    output = request.output
    check(request)
    async with blob_service() as service, ProbeProcess() as prober:
        sources = await find_sources(service, request.sources)
        check_allowed(source.location for source in sources if not is_blob(source))
        refused = [r for source in sources if (r := refuse_unread(source))]
        hopeless = {refusal.source for refusal in refused}
        readable = [s for s in sources if s not in hopeless]
        contents, outputs = await hash_and_list(service, request, prober, readable)
        refused += [Refusal(s, "cannot be read") for s in readable if s not in contents]
        named, refused_names = await asyncio.to_thread(
            lambda: part_misfits(name_all(contents, output, outputs))
        )
        refused += refused_names
        check_downloads(named, output)
        done, wanted = divide(named, outputs=outputs, run=request.run)
        probed = await probe_all(service, wanted, output.chosen, first=prober)
    pending = tuple(p for p in probed if isinstance(p, Conversion))
    refused += [p for p in probed if isinstance(p, Refusal)]
    return Plan(pending=pending, done=done, refused=tuple(refused))


@stage("confirm")
async def confirm_plan(plan: Plan, request: Request) -> Plan:
    """The plan under the lock: what another run has converted meanwhile is dropped."""
    async with blob_service() as service:
        output = request.output
        outputs = await list_outputs(service, output.container, output.prefix)
        # Off the loop: for 400,000 files it takes as long as the lock's lease lasts unrenewed.
        renewed = await asyncio.to_thread(renew, plan, request, outputs=outputs)
        unread = {(c.source, c.preset) for c in plan.done}  # whose output has gone since
        lost = [c for c in renewed.pending if (c.source, c.preset) in unread]
        read = await probe_all(service, lost, output.chosen)
    return replace(
        renewed,
        pending=(
            *(c for c in renewed.pending if (c.source, c.preset) not in unread),
            *(c for c in read if isinstance(c, Conversion)),
        ),
        refused=(*renewed.refused, *(r for r in read if isinstance(r, Refusal))),
    )


def renew(plan: Plan, request: Request, *, outputs: Mapping[str, Stamp]) -> Plan:
    """Names and states anew; what was read from the sources stays."""
    known = {(c.source, c.preset): c for c in (*plan.pending, *plan.done)}
    contents = {c.source: c.content for c in known.values()}
    named = name_all(contents, request.output, outputs)
    possible = (as_read(c, known[pair]) for c in named if (pair := (c.source, c.preset)) in known)
    done, pending = divide(possible, outputs=outputs, run=request.run)
    return Plan(pending=pending, done=done, refused=plan.refused)


def as_read(conversion: Conversion, known: Conversion) -> Conversion:
    """What is known itself, where it is the same: there may be very many."""
    renewed = replace(conversion, seconds=known.seconds, arguments=known.arguments)
    return known if renewed == known else renewed


def name_all(
    contents: Mapping[Source, str], output: Output, outputs: Mapping[str, Stamp]
) -> Iterator[Conversion]:
    return name_outputs(contents, presets=output.chosen, prefix=output.prefix, outputs=outputs)


def part_misfits(
    named: Iterable[Conversion],
) -> tuple[tuple[Conversion, ...], tuple[Refusal, ...]]:
    """Those whose output Azure can store under its name, and those whose output it cannot."""
    fitting, refused = [], []
    for conversion in named:
        if reason := naming_problem(conversion):
            refused.append(Refusal(conversion.source, reason, preset=conversion.preset))
        else:
            fitting.append(conversion)
    return tuple(fitting), tuple(refused)


def divide(
    named: Iterable[Conversion], *, outputs: Mapping[str, Stamp], run: Run
) -> tuple[tuple[Conversion, ...], tuple[Conversion, ...]]:
    """Those whose output is there under their key, and those that are to be converted."""
    named = tuple(named)
    if run.force:
        return (), named
    done = tuple(c for c in named if is_done(c, outputs))
    return done, tuple(c for c in named if not is_done(c, outputs))


def is_done(conversion: Conversion, outputs: Mapping[str, Stamp]) -> bool:
    stamp = outputs.get(conversion.output)
    return stamp is not None and stamp.key == conversion.key


async def find_sources(service: BlobServiceClient, patterns: Sequence[str]) -> list[Source]:
    """All sources, each once, however many patterns name it."""
    found: dict[str, Source] = {}
    for pattern in patterns:
        async for source in _find(service, pattern):
            found.setdefault(source.location, source)
    if not found:
        raise UsageError(
            f"There are no media files in {', '.join(patterns)}.",
            NAME_A_SOURCE,
        )
    return list(found.values())


async def _find(service: BlobServiceClient, pattern: str) -> AsyncIterator[Source]:
    if pattern.startswith(AZURE):
        async for source in find_blobs(service, pattern):
            yield source
    else:
        for source in find_local_files(pattern):
            yield source


def check(request: Request) -> None:
    """What can be told to be wrong before anything is looked up.

    Raises:
        UsageError: it says what, and what to do.
    """
    if not request.sources:
        raise UsageError("No source is named.", NAME_A_SOURCE)
    check_allowed(search_roots(request.sources))
    check_sources_exist(request.sources)
    check_overlap(request.sources, request.output)
    check_allowed(path for path in (request.output.download_to, request.output.report) if path)
    check_targets(request.output)


def check_targets(output: Output) -> None:
    folder, report = local_path(output.download_to), local_path(output.report)
    if output.download_to and not is_writable(folder):
        raise UsageError(
            f"{folder} is not a folder that can be written.", "Choose another for downloads."
        )
    if output.report and report.is_dir():
        raise UsageError(f"{report} is a folder.", "Name a file for the report.")
    if output.report and not is_writable(report.parent):
        raise UsageError(
            f"{report.parent} is not a folder that can be written.",
            "Choose another for the report.",
        )


def is_writable(folder: Path) -> bool:
    """Whether there is such a folder to write in, or one can be made: it is tried."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError:  # also where everybody may write and nobody can, as in /proc
        return False
    return True


def check_overlap(patterns: Iterable[str], output: Output) -> None:
    """Outputs among the sources would be converted in their turn, by the next run.

    Raises:
        UsageError: an output folder or prefix lies in a source, or the other way round.
    """
    for pattern in patterns:
        if pattern.startswith(AZURE):
            is_shared = overlaps_container(pattern, output)
        else:
            is_shared = bool(output.download_to) and lies_within(output.download_to, pattern)
        if is_shared:
            raise UsageError(
                f"The outputs would lie inside the source {pattern!r}: its sources next time.",
                "Choose another output container, prefix or download folder.",
            )


def overlaps_container(address: str, output: Output) -> bool:
    container, prefix = split_address(address)
    folder = f"{output.prefix.rstrip('/')}/" if output.prefix else ""
    return container == output.container and (
        prefix.startswith(folder) or folder.startswith(prefix)
    )


def lies_within(inner: str, outer: str) -> bool:
    folder = local_path(outer).resolve()
    return folder.is_dir() and local_path(inner).resolve().is_relative_to(folder)


def check_downloads(conversions: Iterable[Conversion], output: Output) -> None:
    """A download must not take the place of a source.

    Raises:
        UsageError: one would.
    """
    if not output.download_to:
        return
    for conversion in conversions:
        source = conversion.source
        target = local_target(conversion.output, output).resolve()
        if not is_blob(source) and target == Path(source.location).resolve():
            raise UsageError(
                f"The output of {source.location!r} would take its place.",
                "Choose another folder for downloads.",
            )


def refuse_unread(source: Source) -> Refusal | None:
    if source.version.startswith(UNREADABLE):
        return Refusal(source, f"cannot be read: {source.version.removeprefix(UNREADABLE)}")
    if source.size_bytes == 0:
        return Refusal(source, "the file is empty")
    if source.size_bytes > LARGEST_UPLOAD_BYTES and not is_blob(source):
        return Refusal(
            source,
            f"it is larger than {LARGEST_UPLOAD_BYTES >> 30} GiB: upload it"
            " yourself, and name it as az://container/blob",
        )
    return None


async def hash_and_list(
    service: BlobServiceClient, request: Request, prober: ProbeProcess, sources: Sequence[Source]
) -> tuple[dict[Source, str], dict[str, Stamp]]:
    """Return the content hash of each source, and the stamp of each output."""
    hashing = asyncio.create_task(hash_sources(sources))
    listing = asyncio.create_task(list_and_warm(service, request, prober, files=len(sources)))
    try:
        await asyncio.gather(hashing, listing)
        return hashing.result(), listing.result()
    finally:
        await cancel_all(hashing, listing)


async def list_and_warm(
    service: BlobServiceClient, request: Request, prober: ProbeProcess, *, files: int
) -> dict[str, Stamp]:
    """The outputs. Where so many files cannot all be done, the prober is started meanwhile."""
    outputs = await list_outputs(service, request.output.container, request.output.prefix)
    if request.run.force or len(outputs) < files:
        await prober.warm_up()
    return outputs


async def probe_all(
    service: BlobServiceClient,
    conversions: Iterable[Conversion],
    presets: Iterable[Preset],
    *,
    first: ProbeProcess | None = None,
) -> list[Conversion | Refusal]:
    """Each with the seconds that its output must have, or with the reason why it cannot be.

    A source is looked into once, however many presets it is to be converted by.
    """
    by_name = {preset.name: preset for preset in presets}
    conversions = tuple(conversions)
    sources = tuple(dict.fromkeys(conversion.source for conversion in conversions))
    signer = None
    if any(is_blob(source) for source in sources):
        signer = await make_signer(service, until=datetime.now(UTC) + probe_time(len(sources)))
    addresses = (address(source, signer) for source in sources)
    found = await probe_each(addresses, count=len(sources), first=first)
    media = dict(zip(sources, found, strict=True))
    return [judge(c, media[c.source], by_name[c.preset]) for c in conversions]


def probe_time(sources: int) -> timedelta:
    """How long the URLs for a look at so many blobs are good for."""
    return timedelta(hours=1, seconds=sources)


def address(source: Source, signer: Signer | None) -> str:
    """Where a source can be read: a path, or a URL that is a secret."""
    if signer and is_blob(source):
        return signer.blob_url(*split_address(source.location))
    return source.location


def judge(conversion: Conversion, found: ProbeResult, preset: Preset) -> Conversion | Refusal:
    if isinstance(found, UnreadableMedia):
        return Refusal(conversion.source, str(found), preset=preset.name)
    if reason := missing_stream(found, preset) or exceeded_limit(found, preset):
        return Refusal(conversion.source, reason, preset=preset.name)
    return replace(
        conversion,
        seconds=expected_seconds(found, preset),
        arguments=source_arguments(found, preset),
    )
