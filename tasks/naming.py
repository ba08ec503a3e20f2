"""Names: of outputs, keys and everything that a run makes. Pure functions."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from urllib.parse import quote, unquote_to_bytes

from tasks.models import Conversion, Source, Stamp
from tasks.presets import Preset

OWNER = "batch-convert"  # the tag of all that is ours
KEY_METADATA = "convertkey"  # metadata names may not hold hyphens
SOURCE_METADATA = "convertsource"
PRESET_METADATA = "convertpreset"
UNSAFE = ("Cc", "Cs")  # Unicode's categories: control characters, and bytes that are no UTF-8
UNSAFE_CHARACTERS = "\\\ufffe\uffff"  # would become a folder; cannot be written in XML
LONGEST_NAME_BYTES = 255  # of a file, in what file systems there are
LONGEST_STEM_BYTES = 180  # leaves room for a digest and a suffix


def read_stamp(metadata: Mapping[str, str] | None, size_bytes: int) -> Stamp:
    values = metadata or {}
    return Stamp(
        key=values.get(KEY_METADATA, ""),
        location=os.fsdecode(unquote_to_bytes(values.get(SOURCE_METADATA, ""))),
        size_bytes=size_bytes,
    )


def stamp_metadata(conversion: Conversion, preset: Preset) -> dict[str, str]:
    """The metadata that an output is uploaded with: ASCII, as headers are."""
    return {
        KEY_METADATA: conversion.key,
        SOURCE_METADATA: quote(os.fsencode(conversion.source.location)),
        PRESET_METADATA: preset.name,
    }


def conversion_key(content: str, output: str, preset: Preset) -> str:
    text = "\0".join((content, output, *preset.arguments))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def batch_task_id(key: str, attempt: int) -> str:
    return f"{key}-{attempt}"


def key_and_attempt(batch_task: str) -> tuple[str, int]:
    key, _, attempt = batch_task.rpartition("-")
    return key, int(attempt)


def job_id(run_id: str, *, run_count: int) -> str:
    """Of a run's job and pool; a retry of the same Prefect run gets new ones."""
    return f"convert-{run_count}-{run_id}"


def lock_id(container: str, prefix: str) -> str:
    """The same for all runs into one output, whatever machine they are on."""
    return hashlib.sha256(f"{container}/{prefix.strip('/')}".encode()).hexdigest()[:16]


def lock_blob(lock: str) -> str:
    return f"{lock}/lock"


def input_blob(lock: str, content: str) -> str:
    return f"{lock}/inputs/{content}"


def runner_blob(lock: str, script: bytes) -> str:
    return f"{lock}/runner-{hashlib.sha256(script).hexdigest()[:16]}.sh"


def log_folder(lock: str, run_id: str) -> str:
    return f"{lock}/logs/{run_id}/"


def in_order(source: Source) -> tuple[str, bool, str]:
    """Who is named first where two want one name: .mp4, then by alphabet."""
    path = PurePosixPath(safe_name(source.name))
    return str(path.with_suffix("")), path.suffix.lower() != ".mp4", path.suffix


def name_outputs(
    sources: Mapping[Source, str],
    *,
    preset: Preset,
    prefix: str,
    outputs: Mapping[str, Stamp],
) -> Iterator[Conversion]:
    """Give each source (with its content hash) an output of its own.

    First come, first named: a name that belongs to another source's output, to a blob that is not
    ours, to a folder, or to a source before this one is passed over for a longer one.
    """
    paths = {source: PurePosixPath(prefix, safe_name(source.name)) for source in sources}
    names = _Names(preset=preset, outputs=outputs, paths=paths.values())
    for source in sorted(sources, key=in_order):
        content = sources[source]
        candidates = _candidates(source, paths[source], preset=preset)
        output = next(name for name in candidates if names.is_free(name, source, content))
        names.give(output)
        key = conversion_key(content, output, preset)
        yield Conversion(key=key, source=source, content=content, output=output)


class _Names:
    """The output names that are there, and those given away in this run."""

    def __init__(
        self, *, preset: Preset, outputs: Mapping[str, Stamp], paths: Iterable[PurePosixPath]
    ) -> None:
        self._preset = preset
        folders = {folder for path in paths for folder in path.parents}
        folders.update(folder for name in outputs for folder in PurePosixPath(name).parents)
        self._folders = {_folded(str(folder)) for folder in folders}
        self._there = {_folded(name): (name, stamp) for name, stamp in outputs.items()}
        self._given: set[str] = set()

    def give(self, name: str) -> None:
        self._given.add(_folded(name))

    def is_free(self, name: str, source: Source, content: str) -> bool:
        folded = _folded(name)
        if folded in self._given or folded in self._folders:
            return False
        if folded not in self._there:
            return True
        there, stamp = self._there[folded]
        is_own = source.location == stamp.location
        return there == name and (
            is_own or stamp.key == conversion_key(content, name, self._preset)
        )


def _candidates(source: Source, path: PurePosixPath, *, preset: Preset) -> Iterator[str]:
    for name in (path.with_suffix(preset.suffix).name, f"{path.name}{preset.suffix}"):
        if len(name.encode()) <= LONGEST_NAME_BYTES:
            yield str(path.with_name(name))
    stem = path.name.encode()[:LONGEST_STEM_BYTES].decode(errors="ignore")
    digest = hashlib.sha256(os.fsencode(source.location)).hexdigest()
    for length in range(8, len(digest) + 1):
        yield str(path.with_name(f"{stem}.{digest[:length]}{preset.suffix}"))


def safe_name(name: str) -> str:
    """A name that a blob and a file can bear, and that leads nowhere else.

    Control characters, broken bytes, dot segments and a backslash are percent-encoded.
    """
    return "/".join(_safe_segment(segment) for segment in name.split("/"))


def _safe_segment(segment: str) -> str:
    if segment in (".", ".."):
        return segment.replace(".", "%2E")
    return "".join(quote(os.fsencode(char)) if _is_unsafe(char) else char for char in segment)


def _is_unsafe(char: str) -> bool:
    return char in UNSAFE_CHARACTERS or unicodedata.category(char) in UNSAFE


def _folded(name: str) -> str:
    """What a file system that ignores case or composes accents takes for the same name."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
