"""Recipes for sources that are damaged, interrupted or joined, and an ear for outputs."""

import array
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av

_HERTZ = 8000
_WINDOW = 160  # samples: 20 ms
_LOUD = 300  # root mean square of a window with the tone of `clip`
Keep = Callable[[Any], bool]


def remux(source: Path, target: Path, keep: Keep) -> Path:
    """Copy all packets for which `keep` returns true. It may change them."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None and keep(packet):
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return target


def without_sound(source: Path, target: Path, begin: float, end: float) -> Path:
    """Leave out the packets of sound that start between two times."""
    return remux(
        source, target, lambda p: p.stream.type != "audio" or not begin <= p.pts * p.time_base < end
    )


def with_transmission_pauses(source: Path, target: Path, begin: float, end: float) -> Path:
    """Send, as DTX does, only one tiny packet in 400 ms between two times of Opus sound."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        sound = new.add_stream_from_template(old.streams.audio[0])
        for number, packet in enumerate(p for p in old.demux(audio=0) if p.dts is not None):
            sent = packet
            if begin <= packet.pts * packet.time_base < end:
                if number % 20:
                    continue
                sent = av.Packet(bytes(packet)[:1])
                sent.pts, sent.dts, sent.time_base = packet.pts, packet.dts, packet.time_base
                sent.duration = packet.duration
            sent.stream = sound
            new.mux(sent)
    return target


def with_jump(source: Path, target: Path, *, at: float, by: float) -> Path:
    """Add seconds to all times from one time on."""

    def keep(packet: Any) -> bool:
        if packet.dts * packet.time_base >= at:
            packet.pts += round(by / packet.time_base)
            packet.dts += round(by / packet.time_base)
        return True

    return remux(source, target, keep)


def zeroed(source: Path, begin: float, end: float) -> bytes:
    """Return the bytes with zeros between two shares of the file."""
    data = bytearray(source.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = bytes(last - first)
    return bytes(data)


def starting_early(ogg: bytes, samples: int) -> bytes:
    """Return Ogg pages whose sound starts, and ends, this many samples earlier."""

    def change(page: bytearray) -> None:
        if position := int.from_bytes(page[6:14], "little"):
            page[6:14] = (position - samples).to_bytes(8, "little")

    return _with_each_page(ogg, change)


def with_pre_skip(opus: bytes, samples: int) -> bytes:
    """Return an Opus file in Ogg that makes decoders skip this number of samples at the start."""

    def change(page: bytearray) -> None:
        if page[28:36] == b"OpusHead":
            page[38:40] = samples.to_bytes(2, "little")

    return _with_each_page(opus, change)


def _with_each_page(ogg: bytes, change: Callable[[bytearray], None]) -> bytes:
    data, at = bytearray(ogg), 0
    while at < len(data):
        table = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(table) + sum(table)
        page = data[at:end]
        change(page)
        page[22:26] = bytes(4)
        page[22:26] = _page_checksum(page).to_bytes(4, "little")
        data[at:end] = page
        at = end
    return bytes(data)


def _page_checksum(page: bytes) -> int:
    """Return the checksum of RFC 3533: CRC 32 without reflection."""
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            high = checksum & 0x80000000
            checksum = (checksum << 1 ^ (0x04C11DB7 if high else 0)) & 0xFFFFFFFF
    return checksum


def loud_periods(path: Path, ffmpeg: Path) -> list[tuple[float, float]]:
    """Return the periods in which the tone is heard, in seconds. Pauses under 0.2 s are ignored."""
    samples = array.array("h", _decode(path, ffmpeg, ["-map", "0:a:0", "-f", "s16le", "-ac", "1"]))
    periods: list[tuple[float, float]] = []
    for begin in _loud_windows(samples):
        end = begin + _WINDOW / _HERTZ
        if periods and begin - periods[-1][1] < 0.2:
            periods[-1] = (periods[-1][0], end)
        else:
            periods.append((begin, end))
    return periods


def heard_seconds(path: Path, ffmpeg: Path) -> float:
    return len(_decode(path, ffmpeg, ["-map", "0:a:0", "-f", "s16le", "-ac", "1"])) / 2 / _HERTZ


def _loud_windows(samples: "array.array[int]") -> Iterator[float]:
    for at in range(0, len(samples) - _WINDOW + 1, _WINDOW):
        if sum(sample * sample for sample in samples[at : at + _WINDOW]) / _WINDOW > _LOUD**2:
            yield at / _HERTZ


def seen_pictures(path: Path, ffmpeg: Path) -> list[float]:
    """Return the mean brightness of each picture, from 0 to 255."""
    words = ["-vf", "scale=1:1", "-pix_fmt", "gray", "-f", "rawvideo"]
    return [float(value) for value in _decode(path, ffmpeg, ["-map", "0:v:0", *words])]


def _decode(path: Path, ffmpeg: Path, words: list[str]) -> bytes:
    rate = ["-ar", str(_HERTZ)] if "s16le" in words else []
    command = [str(ffmpeg), "-nostdin", "-loglevel", "quiet", "-i", str(path), *words, *rate, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout
