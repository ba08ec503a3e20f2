"""The plan of a run: it finds sources, drops what is converted already, and probes the rest."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from azure.storage.blob.aio import BlobServiceClient

from tasks.azure.clients import BLOCK_BYTES, blob_service
from tasks.azure.sas import Signer, make_signer
from tasks.concurrency import cancel_all
from tasks.files import check_allowed
from tasks.known_failures import separate_known
from tasks.media.addresses import AZURE, is_blob, split_address
from tasks.media.excerpts import shared, with_excerpts
from tasks.media.exclusion import without_excluded
from tasks.media.hashing import hash_sources
from tasks.media.ignored import Ignored
from tasks.media.output_names import name_outputs, naming_problem
from tasks.media.preferred import preferred_arguments
from tasks.media.presets import Preset
from tasks.media.sandbox import ProbeProcess, ProbeResult, probe_each
from tasks.media.source_arguments import conversion_warnings, source_arguments, tag_text
from tasks.media.sources import (
    UNREADABLE,
    find_blobs,
    find_local_files,
    no_media_found,
)
from tasks.media.streams import (
    UnreadableMedia,
    encrypted_stream,
    exceeded_limit,
    expected_seconds,
    missing_stream,
    picture_extent,
    picture_pixels,
    sound_extents,
)
from tasks.media.tracks import track_note, track_warnings, with_main_track
from tasks.models import Conversion, Plan, Refusal, Source, Stamp
from tasks.outputs import list_outputs
from tasks.parameters import Output, Request, Run
from tasks.request_checks import check_downloads, check_report, check_request
from tasks.results.text import counted
from tasks.stage import FEW, retry_if_answered, stage

LARGEST_UPLOAD_BYTES = 50_000 * BLOCK_BYTES  # a blob has at most 50,000 blocks
logger = logging.getLogger(__name__)

Conversions = tuple[Conversion, ...]
Refusals = tuple[Refusal, ...]


@stage("plan", retries=FEW, retry_condition=retry_if_answered)
async def make_plan(request: Request) -> Plan:
    """Find, hash, name and probe the sources.

    Raises:
        UsageError: A source does not exist, there are no sources, or sources and outputs overlap.
    """
    check_request(request)
    async with blob_service() as service, ProbeProcess() as prober:
        found = await find_sources(service, request.sources)
        sources = without_excluded(found, request.exclude)
        check_allowed(source.location for source in sources if not is_blob(source))
        check_report(sources, request.output)
        readable, unusable = separate_unusable(sources)
        contents, outputs = await hash_and_list(service, request, prober, readable)
        unread = tuple(Refusal(s, "cannot be read") for s in readable if s not in contents)
        # In a thread: this takes seconds for hundreds of thousands of files.
        named, misfits = await asyncio.to_thread(
            lambda: separate_misfits(name_all(contents, request.output, outputs))
        )
        check_downloads(named, request.output)
        done, missing = separate_done(named, run=request.run)
        log_earlier_versions(done)
        known, untried = await separate_known(service, missing, request)
        pending, unfit = await probe_all(service, untried, request.output, first=prober)
    refused = (*unusable, *unread, *misfits, *unfit)
    return Plan(pending=pending, done=done, refused=refused, known_failures=known)


@stage("confirm")
async def confirm_plan(plan: Plan, request: Request) -> Plan:
    """Update the plan under the lock: another run may have converted some of it meanwhile."""
    async with blob_service() as service:
        output = request.output
        outputs = await list_outputs(service, output.container, output.prefix)
        # In a thread: for 400,000 files this takes as long as the lock's lease is valid.
        updated = await asyncio.to_thread(update_plan, plan, request, outputs=outputs)
        failures, pending = await separate_known(service, updated.pending, request)
        unprobed = {(c.source, c.preset) for c in plan.unprobed}
        lost = [c for c in pending if (c.source, c.preset) in unprobed]
        probed, unfit = await probe_all(service, lost, output)
    known = (c for c in pending if (c.source, c.preset) not in unprobed)
    return Plan(
        pending=(*known, *probed),
        done=updated.done,
        refused=(*updated.refused, *unfit),
        known_failures=failures,
    )


def update_plan(plan: Plan, request: Request, *, outputs: Mapping[str, Stamp]) -> Plan:
    """Return the plan with new names and states. Hashes and probed values are kept."""
    known = {(c.source, c.preset): c for c in (*plan.pending, *plan.unprobed)}
    contents = {c.source: c.content for c in known.values()}
    named = name_all(contents, request.output, outputs)
    planned = (
        with_probed_values(c, known[pair]) for c in named if (pair := (c.source, c.preset)) in known
    )
    done, pending = separate_done(planned, run=request.run)
    return Plan(pending=pending, done=done, refused=plan.refused)


def with_probed_values(conversion: Conversion, known: Conversion) -> Conversion:
    """Return the conversion with the probed values of the known one."""
    updated = replace(
        conversion,
        seconds=known.seconds,
        arguments=known.arguments,
        preferred_arguments=known.preferred_arguments,
        tags=known.tags,
        warnings=known.warnings,
        track=known.track,
        sounds=known.sounds,
        picture=known.picture,
        pixels=known.pixels,
        excerpted=known.excerpted,
    )
    return known if updated == known else updated  # no second copy of a large plan in memory


def name_all(
    contents: Mapping[Source, str], output: Output, outputs: Mapping[str, Stamp]
) -> Iterator[Conversion]:
    return name_outputs(contents, presets=output.chosen, prefix=output.prefix, outputs=outputs)


def separate_misfits(named: Iterable[Conversion]) -> tuple[Conversions, Refusals]:
    """Return the conversions whose outputs Azure can store, and refusals of the others."""
    fitting, refused = [], []
    for conversion in named:
        if reason := naming_problem(conversion):
            refused.append(Refusal(conversion.source, reason, preset=conversion.preset))
        else:
            fitting.append(conversion)
    return tuple(fitting), tuple(refused)


def separate_done(named: Iterable[Conversion], *, run: Run) -> tuple[Conversions, Conversions]:
    """Return the conversions that are done, and those that are not."""
    named = tuple(named)
    if run.force:
        return (), named
    return tuple(c for c in named if is_done(c)), tuple(c for c in named if not is_done(c))


def is_done(conversion: Conversion) -> bool:
    """Return whether there is an output with the conversion's name and key, or an earlier key."""
    return conversion.existing in ("current", "earlier")


def log_earlier_versions(done: Iterable[Conversion]) -> None:
    count = sum(conversion.existing == "earlier" for conversion in done)
    if count:
        logger.info(
            "Skipped %s that an earlier version of the preset converted."
            " To convert them again, use --force.",
            counted(count, "file"),
        )


async def find_sources(service: BlobServiceClient, patterns: Sequence[str]) -> list[Source]:
    """Return all sources, each once, even if several patterns match it. Log what is left out."""
    found: dict[str, Source] = {}
    ignored = Ignored()
    for pattern in dict.fromkeys(patterns):
        async for source in find_matching(service, pattern, ignored):
            found.setdefault(source.location, source)
    if not found:
        raise no_media_found(patterns, ignored)
    if left_out := str(ignored):
        logger.info("Ignored %s", left_out)
    return list(found.values())


async def find_matching(
    service: BlobServiceClient, pattern: str, ignored: Ignored
) -> AsyncIterator[Source]:
    if pattern.startswith(AZURE):
        async for source in find_blobs(service, pattern, ignored):
            yield source
    else:
        for source in find_local_files(pattern, ignored):
            yield source


def separate_unusable(sources: Iterable[Source]) -> tuple[list[Source], Refusals]:
    """Return the sources that can be read, and refusals of the others."""
    readable, refused = [], []
    for source in sources:
        if refusal := refuse_unusable(source):
            refused.append(refusal)
        else:
            readable.append(source)
    return readable, tuple(refused)


def refuse_unusable(source: Source) -> Refusal | None:
    if source.version.startswith(UNREADABLE):
        return Refusal(source, f"cannot be read: {source.version.removeprefix(UNREADABLE)}")
    if source.size_bytes == 0:
        return Refusal(source, "the file is empty")
    if source.size_bytes > LARGEST_UPLOAD_BYTES and not is_blob(source):
        return Refusal(
            source,
            f"it is larger than {LARGEST_UPLOAD_BYTES >> 30} GiB: upload it yourself and name it"
            " as az://container/blob",
        )
    return None


async def hash_and_list(
    service: BlobServiceClient, request: Request, prober: ProbeProcess, sources: Sequence[Source]
) -> tuple[dict[Source, str], dict[str, Stamp]]:
    """Return the content hash of each source that can be read, and the stamp of each output."""
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
    """Return the outputs. Start the prober early if they cannot cover all files."""
    outputs = await list_outputs(service, request.output.container, request.output.prefix)
    if request.run.force or len(outputs) < files:
        await prober.warm_up()
    return outputs


async def probe_all(
    service: BlobServiceClient,
    conversions: Iterable[Conversion],
    output: Output,
    *,
    first: ProbeProcess | None = None,
) -> tuple[Conversions, Refusals]:
    """Probe each source once, and return what can be converted and refusals of the rest."""
    by_name = {preset.name: preset for preset in output.chosen}
    conversions = tuple(conversions)
    sources = tuple(dict.fromkeys(conversion.source for conversion in conversions))
    signer = None
    if any(is_blob(source) for source in sources):
        signer = await make_signer(service, until=datetime.now(UTC) + url_lifetime(len(sources)))
    addresses = (probe_address(source, signer) for source in sources)
    results = await probe_each(addresses, count=len(sources), first=first)
    found = dict(zip(sources, results, strict=True))
    probed = [apply_probe(c, found[c.source], by_name[c.preset]) for c in conversions]
    pending = tuple(p for p in probed if isinstance(p, Conversion))
    if output.upload == "needed":
        pending = tuple(with_excerpts(pending, found, by_name))
    return pending, tuple(p for p in probed if isinstance(p, Refusal))


def url_lifetime(sources: int) -> timedelta:
    """Return how long the URLs for probing this number of blobs are valid."""
    return timedelta(hours=1, seconds=sources)


def probe_address(source: Source, signer: Signer | None) -> str:
    """Return where a source can be read: a path, or a URL that is a secret."""
    if signer and is_blob(source):
        return signer.blob_url(*split_address(source.location))
    return source.location


def apply_probe(conversion: Conversion, found: ProbeResult, preset: Preset) -> Conversion | Refusal:
    """Return the conversion with the values that the probe found, or a refusal."""
    if isinstance(found, UnreadableMedia):
        return Refusal(conversion.source, str(found), preset=preset.name)
    found = with_main_track(found, preset.choices.languages)
    checks = (missing_stream, encrypted_stream, exceeded_limit)
    if reason := next(filter(None, (check(found, preset) for check in checks)), None):
        return Refusal(conversion.source, reason, preset=preset.name)
    return replace(
        conversion,
        seconds=expected_seconds(found, preset),
        arguments=shared(source_arguments(found, preset)),
        preferred_arguments=shared(preferred_arguments(found, preset)),
        tags=tag_text(found, preset),
        warnings=(*conversion_warnings(found, preset), *track_warnings(found, preset)),
        track=track_note(found, preset),
        sounds=sound_extents(found, preset),
        picture=picture_extent(found, preset),
        pixels=picture_pixels(found, preset),
    )
