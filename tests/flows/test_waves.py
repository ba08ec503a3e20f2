from typing import Any

import pytest
from records import a_conversion

from flows.waves import waves


@pytest.mark.parametrize(
    ("files", "largest", "sizes"),
    [
        (0, 100, []),
        (5, 100, [5]),
        (100, 100, [8, 32, 60]),
        (400, 100, [8, 32, 100, 100, 100, 60]),
        (5, 2, [2, 2, 1]),
    ],
)
def test_waves_start_small_and_grow_up_to_the_largest(
    files: int, largest: int, sizes: list[int]
) -> None:
    conversions: Any = [a_conversion(output=f"{n}.mp3") for n in range(files)]
    sent = list(waves(conversions, largest))
    assert [len(wave) for wave in sent] == sizes
    assert [c for wave in sent for c in wave] == conversions
