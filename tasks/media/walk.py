"""The walk through folders: of a folder and of a glob, with the same rules.

Links to folders are not followed, because they may form a loop or lead to the whole machine. Hidden
files and folders are left out. A folder that cannot be listed is found with the reason.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["file", "hidden file", "hidden folder", "linked folder", "unlisted folder"]
Pattern = tuple[str, ...]  # one part for each folder, and one for the file; (): any path
EVERYTHING: Pattern = ()
ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class Found:
    path: str
    kind: Kind
    reason: str = ""  # why a folder cannot be listed


def walk(top: str, pattern: Pattern = EVERYTHING) -> Iterator[Found]:
    """Yield what is below a folder and matches the pattern, or is in a folder that matches it."""
    waiting = [(top, frozenset([pattern]))]
    while waiting:
        folder, wanted = waiting.pop()
        try:
            entries = list_folder(folder)
        except OSError as error:
            yield Found(folder, "unlisted folder", str(error.strerror))
            continue
        folders = []
        for entry in entries:
            rest = match_name(wanted, entry.name)
            if rest and entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, rest))
            elif kind := kind_of(entry, wanted=wanted, rest=rest):
                yield Found(entry.path, kind)
        waiting.extend(reversed(folders))


def list_folder(folder: str) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def kind_of(
    entry: "os.DirEntry[str]", *, wanted: Iterable[Pattern], rest: Iterable[Pattern]
) -> Kind | None:
    """Return what an entry is that is not walked through, or None if it does not match."""
    if is_hidden(entry.name) and not rest:
        # A glob does not match hidden names. In a folder, they are left out.
        is_folder = entry.is_dir(follow_symlinks=False)
        found: Kind = "hidden folder" if is_folder else "hidden file"
        return found if EVERYTHING in wanted else None
    if rest and entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112  paths are text
        return "linked folder"
    return "file" if EVERYTHING in rest else None


def match_name(wanted: Iterable[Pattern], name: str) -> frozenset[Pattern]:
    """Return the patterns that the path below this name has to match, or none."""
    return frozenset(rest for pattern in wanted for rest in _match_part(pattern, name))


def _match_part(pattern: Pattern, name: str) -> Iterator[Pattern]:
    if not pattern or pattern[0] == ANY_FOLDERS:
        if not is_hidden(name):
            yield pattern
    elif fnmatchcase(name, pattern[0]) and (not is_hidden(name) or is_hidden(pattern[0])):
        yield pattern[1:]
    if pattern and pattern[0] == ANY_FOLDERS:  # it also stands for no folder
        yield from _match_part(pattern[1:], name)


def is_hidden(name: str) -> bool:
    return name.startswith(".")
