"""The stamp in an output blob's metadata: its key, source and preset."""

import os
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from tasks.models import Conversion, Stamp

KEY_METADATA = "convertkey"  # metadata names cannot contain hyphens
SOURCE_METADATA = "convertsource"
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
    return {
        KEY_METADATA: conversion.key,
        SOURCE_METADATA: quote(os.fsencode(conversion.source.location)),
        PRESET_METADATA: conversion.preset,
    }
