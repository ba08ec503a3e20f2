"""Names of outputs: each mirrors the path of its source. Pure functions."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from posixpath import basename, dirname
from urllib.parse import quote

from tasks.media.presets import Preset
from tasks.models import Conversion, Source, Stamp
from tasks.naming import conversion_key

UNSAFE = ("Cc", "Cs")  # Unicode's categories: control characters, and bytes that are no UTF-8
UNSAFE_CHARACTERS = "\\\ufffe\uffff"  # would become a folder; cannot be written in XML
LONGEST_NAME_BYTES = 255  # of a file, in what file systems there are
LONGEST_BLOB_NAME = 1024  # in UTF-16, as Azure counts
LONGEST_STAMP_BYTES = 7000  # of a source's path in the metadata, which may have 8 KiB in all
LONGEST_STEM_BYTES = 180  # leaves room for a digest and a suffix


def in_order(source: Source) -> tuple[str, bool, str]:
    """Who is named first where two want one name: .mp4, then by alphabet."""
    stem, suffix = part_suffix(joined(safe_name(source.name)))
    return stem, suffix.lower() != ".mp4", suffix


def part_suffix(path: str) -> tuple[str, str]:
    """`talks/day 1.mp4` as `talks/day 1` and `.mp4`; the suffix may be empty, the name may not."""
    dot = path.rfind(".")
    if path.rfind("/") + 1 < dot < len(path) - 1:
        return path[:dot], path[dot:]
    return path, ""


def joined(*parts: str) -> str:
    """One path of them, with single slashes."""
    return "/".join(name for part in parts for name in part.split("/") if name)


def folders_above(path: str) -> Iterator[str]:
    """From the nearest to the container itself, which is empty."""
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
    """Give each source (with its content hash) an output of its own by each preset.

    First come, first named: a name that belongs to another conversion's output, to a blob that is
    not ours, to a folder, or to a conversion before this one is passed over for a longer one. What
    has an output already keeps its name.
    """
    names = _Names(outputs=outputs, wanted=(_wanted_path(prefix, source) for source in sources))
    for source in sorted(sources, key=in_order):
        path = _wanted_path(prefix, source)
        for preset in presets:
            claim = _Claim(source=source, content=sources[source], preset=preset)
            output = names.choose(claim, path)
            yield Conversion(
                key=claim.key(output),
                source=source,
                content=claim.content,
                output=output,
                preset=preset.name,
            )


def _wanted_path(prefix: str, source: Source) -> str:
    return joined(prefix, safe_name(source.name))


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A source that wants a name for its output by a preset."""

    source: Source
    content: str
    preset: Preset

    @property
    def holder(self) -> tuple[str, str]:
        return self.source.location, self.preset.name

    def key(self, output: str) -> str:
        return conversion_key(self.content, output, self.preset)


class _Names:
    """The output names that are there, and those given away in this run."""

    def __init__(self, *, outputs: Mapping[str, Stamp], wanted: Iterable[str]) -> None:
        folders = {dirname(path) for path in chain(wanted, map(joined, outputs))}
        folders.update([outer for folder in folders for outer in folders_above(folder)])
        self._folders = {_folded(folder) for folder in folders}
        self._there = {_folded(name): (name, stamp) for name, stamp in outputs.items()}
        self._given: dict[str, tuple[str, str]] = {}

    def choose(self, claim: _Claim, path: str) -> str:
        """A name for it, which nothing else gets from then on."""
        suffixes = claim.preset.suffix, f".{claim.preset.name}{claim.preset.suffix}"
        usual = {suffix: tuple(_usual_names(path, suffix)) for suffix in suffixes}
        own = (name for name in chain(*usual.values()) if self._is_own(name, claim))
        name = next(own, None) or self._new(claim, path, usual=usual)
        self._given[_folded(name)] = claim.holder
        return name

    def _new(self, claim: _Claim, path: str, *, usual: Mapping[str, Iterable[str]]) -> str:
        plain, labelled = usual
        is_second = any(self._is_siblings(name, claim) for name in usual[plain])
        suffix = labelled if is_second else plain
        candidates = chain(usual[suffix], _long_names(claim.source, path, suffix))
        return next(name for name in candidates if self._is_free(name, claim))

    def _is_free(self, name: str, claim: _Claim) -> bool:
        return self._is_open(name) and (
            _folded(name) not in self._there or self._is_own(name, claim)
        )

    def _is_open(self, name: str) -> bool:
        folded = _folded(name)
        return folded not in self._given and folded not in self._folders

    def _is_own(self, name: str, claim: _Claim) -> bool:
        """Whether its output is there under this name: it is replaced if it is not up to date."""
        if not self._is_open(name) or _folded(name) not in self._there:
            return False
        there, stamp = self._there[_folded(name)]
        is_its = (stamp.location, stamp.preset) == claim.holder or stamp.key == claim.key(name)
        return there == name and is_its

    def _is_siblings(self, name: str, claim: _Claim) -> bool:
        """Whether the name belongs to the same source's output by another preset."""
        folded = _folded(name)
        holder = self._given.get(folded)
        if not holder and folded in self._there:
            stamp = self._there[folded][1]
            holder = (stamp.location, stamp.preset)
        return holder is not None and holder[0] == claim.source.location and holder != claim.holder


def _usual_names(path: str, suffix: str) -> Iterator[str]:
    for name in (f"{part_suffix(path)[0]}{suffix}", f"{path}{suffix}"):
        if len(basename(name).encode()) <= LONGEST_NAME_BYTES:
            yield name


def _long_names(source: Source, path: str, suffix: str) -> Iterator[str]:
    stem = basename(path).encode()[:LONGEST_STEM_BYTES].decode(errors="ignore")
    digest = hashlib.sha256(os.fsencode(source.location)).hexdigest()
    for length in range(8, len(digest) + 1):
        yield joined(dirname(path), f"{stem}.{digest[:length]}{suffix}")


def misfit(conversion: Conversion) -> str | None:
    """Why the output cannot be stored; None: it can."""
    length = len(conversion.output.encode("utf-16-le")) // 2
    if length > LONGEST_BLOB_NAME:
        return (
            f"its output's name would have {length} characters: Azure takes {LONGEST_BLOB_NAME}."
            " Shorten the names of its folders"
        )
    if any(len(part.encode()) > LONGEST_NAME_BYTES for part in conversion.output.split("/")):
        return "a folder of its output would have too long a name: rename it"
    if len(quote(os.fsencode(conversion.source.location))) > LONGEST_STAMP_BYTES:
        return "its path is too long to be stored with its output: move it"
    return None


def safe_name(name: str) -> str:
    """A name that a blob and a file can bear, and that leads nowhere else.

    Control characters, broken bytes, a backslash, and dots at a segment's end (which Azure's
    documentation forbids) are percent-encoded.
    """
    return "/".join(_safe_segment(segment) for segment in name.split("/"))


def _safe_segment(segment: str) -> str:
    stem = segment.rstrip(".")
    dots = "%2E" * (len(segment) - len(stem))
    if stem.isprintable() and "\\" not in stem:  # then none of its characters is unsafe
        return stem + dots
    return "".join(quote(os.fsencode(char)) if _is_unsafe(char) else char for char in stem) + dots


def _is_unsafe(char: str) -> bool:
    return char in UNSAFE_CHARACTERS or unicodedata.category(char) in UNSAFE


def _folded(name: str) -> str:
    """What a file system that ignores case or composes accents takes for the same name."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
