"""What a search for sources leaves out, counted for one line of the log."""

from collections import Counter
from collections.abc import Iterator

from tasks.media import unsupported
from tasks.media.output_names import split_suffix
from tasks.results.text import counted

SHOWN_SUFFIXES = 5
LONGEST_SUFFIX = 10  # characters with the dot: the dot of a longer one belongs to a sentence
HIDDEN, NO_SUFFIX = "hidden", "without a suffix"


class Ignored:
    """Counts of files by suffix, and of folders."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()

    def add_file(self, name: str) -> None:
        self._files[suffix_of(name)] += 1

    def add_hidden_file(self) -> None:
        self._files[HIDDEN] += 1

    def add_folder(self, kind: str) -> None:
        self._folders[kind] += 1

    def __str__(self) -> str:
        """Return "3 files: 2 .jpg, 1 hidden; 1 linked folder", or nothing if all was taken."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if count := self._files.total():
            yield f"{counted(count, 'file')}: {', '.join(self._by_suffix())}"
        for kind, number in sorted(self._folders.items()):
            yield counted(number, kind)

    def _by_suffix(self) -> Iterator[str]:
        """Yield the most frequent suffixes with their counts, and the rest as one."""
        ordered = sorted(self._files.items(), key=lambda item: (-item[1], item[0]))
        # One more than the limit is shown by its name: the words for the rest are no shorter.
        most = len(ordered) if len(ordered) == SHOWN_SUFFIXES + 1 else SHOWN_SUFFIXES
        for suffix, number in ordered[:most]:
            yield f"{number} {suffix}{_remark(suffix)}"
        if rest := ordered[most:]:
            yield f"{sum(number for _, number in rest)} with {len(rest)} other suffixes"


def _remark(suffix: str) -> str:
    """Return what to add about media files, so that they are not taken for other files."""
    return " (not supported)" if suffix in unsupported.SUFFIXES else ""


def suffix_of(name: str) -> str:
    suffix = split_suffix(name)[1].lower()
    is_plain = suffix[1:].isalnum() and len(suffix) <= LONGEST_SUFFIX
    return suffix if is_plain else NO_SUFFIX
