"""Names of outputs. Each mirrors the path of its source. Pure functions."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from posixpath import basename, dirname
from urllib.parse import quote

from tasks.media.presets import Preset
from tasks.models import Conversion, Existing, Source, Stamp
from tasks.naming import conversion_key

UNSAFE = ("Cc", "Cs")  # Unicode categories: control characters, and bytes that are not UTF-8
UNSAFE_CHARACTERS = "\\\ufffe\uffff"  # a folder separator in Azure; not allowed in XML
LONGEST_NAME_BYTES = 255  # of a file, in common file systems
LONGEST_BLOB_NAME = 1024  # UTF-16 code units, as Azure counts
LONGEST_LOCATION_BYTES = 7000  # in the metadata, which may have 8 KiB in all
LONGEST_STEM_BYTES = 180  # leaves room for a digest and a suffix


def naming_order(source: Source) -> tuple[str, bool, str]:
    """Return the sort key for naming: of sources with one stem, .mp4 comes first."""
    stem, suffix = split_suffix(join_path(safe_name(source.name)))
    return stem, suffix.lower() != ".mp4", suffix


def split_suffix(path: str) -> tuple[str, str]:
    """Split `talks/day 1.mp4` into `talks/day 1` and `.mp4`. Only the suffix may be empty."""
    dot = path.rfind(".")
    if path.rfind("/") + 1 < dot < len(path) - 1:
        return path[:dot], path[dot:]
    return path, ""


def join_path(*parts: str) -> str:
    """Join the parts with single slashes."""
    return "/".join(name for part in parts for name in part.split("/") if name)


def parent_folders(path: str) -> Iterator[str]:
    """Yield the folders above the path, nearest first. The last is the container: an empty name."""
    while path:
        path = dirname(path)
        yield path


def name_outputs(
    sources: Mapping[Source, str],
    *,
    presets: Sequence[Preset],
    prefix: str,
    outputs: Mapping[str, Stamp],
) -> Iterator[Conversion]:
    """Yield a conversion for each source and preset, each with an output name of its own.

    `sources` maps each source to its content hash, `outputs` each existing blob to its stamp. An
    output that exists keeps its name. A new output gets a longer name if the usual one belongs to
    another conversion, to a blob that is not ours, or to a folder.
    """
    paths = (_mirrored_path(prefix, source) for source in sources)
    names = _NameRegistry(outputs=outputs, paths=paths)
    for source in sorted(sources, key=naming_order):
        path = _mirrored_path(prefix, source)
        for preset in presets:
            unnamed = _UnnamedOutput(source=source, content=sources[source], preset=preset)
            output = names.assign(unnamed, path)
            yield Conversion(
                key=unnamed.key(output),
                source=source,
                content=unnamed.content,
                output=output,
                preset=preset.name,
                existing=unnamed.compare(output, outputs.get(output)),
            )


def _mirrored_path(prefix: str, source: Source) -> str:
    return join_path(prefix, safe_name(source.name))


@dataclass(frozen=True, kw_only=True)
class _UnnamedOutput:
    """The output of a source by a preset, before it has a name."""

    source: Source
    content: str
    preset: Preset

    @property
    def owner(self) -> tuple[str, str]:
        return self.source.location, self.preset.name

    def key(self, output: str) -> str:
        return conversion_key(self.content, output, self.preset)

    def compare(self, output: str, stamp: Stamp | None) -> Existing:
        """Return what made the blob that has this name and stamp. `none`: not our conversion."""
        if stamp is None or not (stamp.key or stamp.location):
            return "none"
        if stamp.key == self.key(output):
            return "current"
        versions = self.preset.earlier
        if any(stamp.key == conversion_key(self.content, output, each) for each in versions):
            return "earlier"
        return "outdated" if (stamp.location, stamp.preset) == self.owner else "none"


class _NameRegistry:
    """The names of existing outputs, and those assigned in this run."""

    def __init__(self, *, outputs: Mapping[str, Stamp], paths: Iterable[str]) -> None:
        folders = {dirname(path) for path in chain(paths, map(join_path, outputs))}
        folders.update([outer for folder in folders for outer in parent_folders(folder)])
        self._folders = {_folded(folder) for folder in folders}
        self._existing = {_folded(name): (name, stamp) for name, stamp in outputs.items()}
        self._assigned: dict[str, tuple[str, str]] = {}

    def assign(self, output: _UnnamedOutput, path: str) -> str:
        """Return the name of the output, and reserve it."""
        suffixes = output.preset.suffix, f".{output.preset.name}{output.preset.suffix}"
        usual = {suffix: tuple(_usual_names(path, suffix)) for suffix in suffixes}
        own = (name for name in chain(*usual.values()) if self._is_own(name, output))
        name = next(own, None) or self._new_name(output, path, usual=usual)
        self._assigned[_folded(name)] = output.owner
        return name

    def _new_name(
        self, output: _UnnamedOutput, path: str, *, usual: Mapping[str, Iterable[str]]
    ) -> str:
        plain, labelled = usual
        is_second = any(self._is_of_other_preset(name, output) for name in usual[plain])
        suffix = labelled if is_second else plain
        candidates = chain(usual[suffix], _long_names(output.source, path, suffix))
        return next(name for name in candidates if self._is_free(name, output))

    def _is_free(self, name: str, output: _UnnamedOutput) -> bool:
        return self._is_assignable(name) and (
            _folded(name) not in self._existing or self._is_own(name, output)
        )

    def _is_assignable(self, name: str) -> bool:
        folded = _folded(name)
        return folded not in self._assigned and folded not in self._folders

    def _is_own(self, name: str, output: _UnnamedOutput) -> bool:
        """Return whether this output exists under the name. It may be outdated."""
        if not self._is_assignable(name) or _folded(name) not in self._existing:
            return False
        existing, stamp = self._existing[_folded(name)]
        is_same = (stamp.location, stamp.preset) == output.owner
        return existing == name and (is_same or output.compare(name, stamp) != "none")

    def _is_of_other_preset(self, name: str, output: _UnnamedOutput) -> bool:
        """Return whether the name belongs to the output of the same source by another preset."""
        folded = _folded(name)
        owner = self._assigned.get(folded)
        if not owner and folded in self._existing:
            stamp = self._existing[folded][1]
            owner = (stamp.location, stamp.preset)
        return owner is not None and owner[0] == output.source.location and owner != output.owner


def _usual_names(path: str, suffix: str) -> Iterator[str]:
    for name in (f"{split_suffix(path)[0]}{suffix}", f"{path}{suffix}"):
        if len(basename(name).encode()) <= LONGEST_NAME_BYTES:
            yield name


def _long_names(source: Source, path: str, suffix: str) -> Iterator[str]:
    stem = basename(path).encode()[:LONGEST_STEM_BYTES].decode(errors="ignore")
    digest = hashlib.sha256(os.fsencode(source.location)).hexdigest()
    for length in range(8, len(digest) + 1):
        yield join_path(dirname(path), f"{stem}.{digest[:length]}{suffix}")


def naming_problem(conversion: Conversion) -> str | None:
    """Return the reason if a name is too long for the output to be stored."""
    length = len(conversion.output.encode("utf-16-le")) // 2
    if length > LONGEST_BLOB_NAME:
        return (
            f"the name of its output would have {length} characters, and Azure allows"
            f" {LONGEST_BLOB_NAME}: shorten the names of its folders"
        )
    if any(len(part.encode()) > LONGEST_NAME_BYTES for part in conversion.output.split("/")):
        return (
            f"the name of an output folder would be longer than {LONGEST_NAME_BYTES} bytes: rename"
            " the source folder"
        )
    if len(quote(os.fsencode(conversion.source.location))) > LONGEST_LOCATION_BYTES:
        return "its path is too long for the metadata of its output: move the source"
    return None


def safe_name(name: str) -> str:
    """Return a name that is valid for blobs and files, and that cannot leave its folder.

    Percent-encodes control characters, invalid bytes, backslashes, and dots at the end of a
    segment, which Azure's documentation forbids.
    """
    return "/".join(_safe_segment(segment) for segment in name.split("/"))


def _safe_segment(segment: str) -> str:
    stem = segment.rstrip(".")
    dots = "%2E" * (len(segment) - len(stem))
    if stem.isprintable() and "\\" not in stem:  # quick: no other printable character is unsafe
        return stem + dots
    return "".join(quote(os.fsencode(char)) if _is_unsafe(char) else char for char in stem) + dots


def _is_unsafe(char: str) -> bool:
    return char in UNSAFE_CHARACTERS or unicodedata.category(char) in UNSAFE


def _folded(name: str) -> str:
    """Return a form that is equal for names that a file system may not distinguish.

    Such file systems ignore case, or compose accents.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
