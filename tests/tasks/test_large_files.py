"""What a source's size costs: hashing, probing and uploading take no more memory for more bytes.

CI takes half a gigabyte. The whole:  LARGE_FILE_MIB=20480 .venv/bin/pytest -n0 -s <this file>
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from black_hole import black_hole

MEBIBYTE = 1 << 20
LARGE = int(os.environ.get("LARGE_FILE_MIB", "512")) * MEBIBYTE
SMALL = 64 * MEBIBYTE
CHILD = """
import asyncio, json, sys, threading, time
from pathlib import Path
from azure.storage.blob.aio import BlobClient
from tasks.azure.clients import blob_service
from tasks.media.hashing import _hash_file
from tasks.media.sandbox import probe_each
from tasks.media.sources import find_local_files
from tasks.uploads import upload

async def main():
    (source,) = find_local_files(sys.argv[1])
    began = time.monotonic()
    digest = _hash_file(source.location, threading.Event())
    hashed = time.monotonic()
    (media,) = await probe_each([source.location], count=1)
    probed = time.monotonic()
    async with blob_service() as service:
        reason = await upload(service.get_blob_client("input", "a"), source)
    ended = time.monotonic()
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    seconds = [hashed - began, probed - hashed, ended - probed]
    print(json.dumps([len(digest), media.seconds, reason, peak_kib, seconds]))

asyncio.run(main())
"""


def sparse_film(path: Path, clip: Path, size: int) -> Path:
    """A film whose index comes after so many bytes of nothing, which take no place on the disk."""
    film = clip.read_bytes()
    at = film.index(b"moov") - 4
    with path.open("wb") as file:
        file.write(film[:at] + struct.pack(">I4sQ", 1, b"free", size))
        file.seek(at + size)
        file.write(film[at:])
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_memory_does_not_grow_with_the_files_size(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    peaks = []
    for size in (SMALL, LARGE):
        path = sparse_film(tmp_path / f"{size}.mp4", clip(".mp4"), size)
        with black_hole() as hole:
            environment = {
                "AZURE_BATCH_ENDPOINT": "http://127.0.0.1:1",
                "AZURE_STORAGE_CONNECTION_STRING": hole.connection_string,
            }
            said = subprocess.run(
                [sys.executable, "-c", CHILD, path],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            digits, seconds, reason, peak_kib, took = json.loads(said)
            assert (digits, reason) == (64, None)
            assert seconds == pytest.approx(2, abs=0.1)
            assert hole.bytes_received > size
        sys.stderr.write(f"{size >> 20} MiB: {peak_kib >> 10} MiB at most; seconds {took}\n")
        peaks.append(peak_kib * 1024)
    small, large = peaks
    assert large - small < 16 * MEBIBYTE
