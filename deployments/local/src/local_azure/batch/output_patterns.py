"""The files of a task that match the pattern of an output file.

Only files in the task's own folder match. In Azure, a pattern can lead to the whole node, and a
node belongs to its pool. Here, it would lead to the files of your user: links to folders are not
followed, and links to files must not lead out of the task's folder.
"""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

Parts = tuple[str, ...]
WILDCARDS = frozenset("*?[")
ANY_FOLDERS = "**"


def has_wildcard(pattern: str) -> bool:
    return not WILDCARDS.isdisjoint(pattern)


def matching_files(pattern: str, *, task_folder: Path) -> list[tuple[Path, str]]:
    """Return the files that match, each with its name as the pattern spells it."""
    parts = PurePosixPath(pattern).parts
    first = next((n for n, part in enumerate(parts) if has_wildcard(part)), len(parts))
    start = PurePosixPath(*parts[:first])
    top = task_folder / "wd" / start
    if not leads_into(task_folder, top):
        return []
    names = sorted(_walk(str(top), parts[first:])) if first < len(parts) else [""]
    return [
        (path, str(start / name))
        for name in names
        if (path := top / name).is_file() and leads_into(task_folder, path)
    ]


def leads_into(folder: Path, path: Path) -> bool:
    """Return whether a path is in the folder after its links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def _walk(top: str, pattern: Parts) -> Iterator[str]:
    """Yield the names of matching files, relative to `top`. Enter only folders that can match."""
    waiting = [("", frozenset([pattern]))]
    while waiting:
        folder, wanted = waiting.pop()
        for entry in _entries(os.path.join(top, folder)):  # noqa: PTH118  as text
            rest = _after(wanted, entry.name)
            name = os.path.join(folder, entry.name)  # noqa: PTH118  as text
            if rest and entry.is_dir(follow_symlinks=False):
                waiting.append((name, rest))
            elif () in rest:
                yield name


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # the task removed it, or took away the permission
        return []


def _after(wanted: Iterable[Parts], name: str) -> frozenset[Parts]:
    """Return what has to match below this name."""
    return frozenset(rest for parts in wanted for rest in _after_part(parts, name))


def _after_part(parts: Parts, name: str) -> Iterator[Parts]:
    if not parts:
        return
    first, *rest = parts
    is_hidden = name.startswith(".")
    if first == ANY_FOLDERS:
        if not is_hidden:
            yield parts
        yield from _after_part(tuple(rest), name) if rest else [()]
    elif fnmatchcase(name, first) and (not is_hidden or first.startswith(".")):
        yield tuple(rest)
