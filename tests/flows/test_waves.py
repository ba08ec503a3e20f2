import pytest
from records import a_conversion, a_source

from flows.waves import first_wave_files, next_wave_files
from tasks.models import Conversion

MB = 1_000_000


def films(*sizes_bytes: int) -> list[Conversion]:
    return [a_conversion(source=a_source(size_bytes=size)) for size in sizes_bytes]


@pytest.mark.parametrize(
    ("sizes_bytes", "files"),
    [([MB] * 100, 8), ([MB], 1), ([40 * MB] * 5, 2), ([5000 * MB] * 3, 1)],
)
def test_the_first_wave_has_few_files_and_not_much_to_upload(
    sizes_bytes: list[int], files: int
) -> None:
    assert first_wave_files(films(*sizes_bytes)) == files


@pytest.mark.parametrize(
    ("seconds", "files"),
    [(0, 32), (1, 32), (2.5, 16), (5, 8), (20, 2), (3600, 1)],
)
def test_waves_grow_fourfold_unless_they_would_take_long_to_upload(
    seconds: float, files: int
) -> None:
    assert next_wave_files(8, seconds=seconds) == files
