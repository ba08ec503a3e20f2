import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import a_conversion, a_source

from tasks.azure.stamps import read_stamp, stamp_metadata
from tasks.media.presets import PRESETS, Preset
from tasks.models import Stamp


@given(st.text("é%2F\udcff/ \n", max_size=1024), st.sampled_from(list(PRESETS.values())))
def test_a_stamp_is_read_as_it_was_written(location: str, preset: Preset) -> None:
    conversion = a_conversion(a_source(location=location), preset=preset)
    metadata = stamp_metadata(conversion)
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert read_stamp(metadata, 5) == Stamp(conversion.key, location, 5, preset.name)


@pytest.mark.parametrize("char", ["\udcff", "\U0001f600", "x"])
def test_the_stamp_of_a_path_of_one_kilobyte_fits_into_the_metadata_of_a_blob(char: str) -> None:
    location = "/" + char * (1024 // len(os.fsencode(char)))
    metadata = stamp_metadata(a_conversion(a_source(location=location)))
    assert sum(len(name) + len(value) for name, value in metadata.items()) < 8192
    assert read_stamp(metadata, 0).location == location


@pytest.mark.parametrize("metadata", [None, {}, {"owner": "another program"}])
def test_a_blob_that_is_not_ours_has_an_empty_stamp(metadata: dict[str, str] | None) -> None:
    assert read_stamp(metadata, 3) == Stamp("", "", 3)
