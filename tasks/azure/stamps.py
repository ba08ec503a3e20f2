"""The stamp in an output blob's metadata: its key, source, ETag of the source, and preset."""

import os
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from tasks.models import Conversion, Stamp

KEY_METADATA = "convertkey"  # metadata names cannot contain hyphens
SOURCE_METADATA = "convertsource"
ETAG_METADATA = "convertsourceetag"
PRESET_METADATA = "convertpreset"


def read_stamp(metadata: Mapping[str, str] | None, size_bytes: int) -> Stamp:
    values = metadata or {}
    return Stamp(
        key=values.get(KEY_METADATA, ""),
        location=os.fsdecode(unquote_to_bytes(values.get(SOURCE_METADATA, ""))),
        size_bytes=size_bytes,
        preset=values.get(PRESET_METADATA, ""),
    )


def stamp_metadata(conversion: Conversion) -> dict[str, str]:
    """Return the metadata of an output. It is sent in headers, so it is ASCII."""
    source = conversion.source
    return {
        KEY_METADATA: conversion.key,
        SOURCE_METADATA: quote(os.fsencode(source.location)),
        PRESET_METADATA: conversion.preset,
        # The version that was planned, for people who look into a doubtful output.
        **({ETAG_METADATA: source.etag} if source.etag else {}),
    }


def without_key(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name != KEY_METADATA}
