"""The picture of a run: one HTML file that needs no server, no network and no other file."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tasks.results.timeline import Bar, Lane, Step, Timeline

if TYPE_CHECKING:
    from tasks.report import Report

FOLDER = Path(__file__).parent
COLUMNS = (
    *("source", "preset", "output", "state", "reason", "attempts", "seconds"),
    *("source_seconds", "output_bytes"),
)
VALUES_A_PIECE = 1000
DATA = "{{data}}"
MARK = re.compile(r"\{\{(\w+)\}\}")
GENERATOR = b'<meta name="generator" content="batch-convert">'  # by it a picture of ours is known
IN_SCRIPT = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def draw(report: "Report", page: IO[bytes]) -> None:
    """Write the page with its data. It asks nobody for anything, and its policy forbids it to."""
    style, script = ((FOLDER / f"picture.{suffix}").read_text() for suffix in ("css", "js"))
    parts = {"policy": policy(style=style, script=script), "style": style, "script": script}
    before, after = (FOLDER / "picture.html").read_text().split(DATA)
    page.write(filled(before, parts).encode())
    for piece in in_pieces(describe(report)):
        page.write(piece.encode())
    page.write(filled(after, parts).encode())


def filled(template: str, parts: Mapping[str, str]) -> str:
    return MARK.sub(lambda mark: parts[mark[1]], template)


def policy(*, style: str, script: str) -> str:
    """What the page may do: be styled and scripted by just these two, and nothing more."""
    rules = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    rules |= {"style-src": fingerprint(style), "script-src": fingerprint(script)}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded(data: Any) -> str:
    """JSON that no name in it can break out of: ASCII, without what HTML reads as its own."""
    return json.dumps(data, separators=(",", ":")).translate(IN_SCRIPT)


def in_pieces(data: Any) -> Iterator[str]:
    """The same of mappings and tuples; what an iterator yields is written as it comes."""
    if isinstance(data, Mapping):
        for place, (name, value) in enumerate(data.items()):
            yield f"{',' if place else '{'}{embedded(name)}:"
            yield from in_pieces(value)
        yield "}" if data else "{}"
    elif isinstance(data, tuple):
        for place, value in enumerate(data):
            yield "," if place else "["
            yield from in_pieces(value)
        yield "]" if data else "[]"
    elif isinstance(data, Iterator):
        yield "["
        separator = ""
        while values := list(islice(data, VALUES_A_PIECE)):
            yield separator + embedded(values)[1:-1]
            separator = ","
        yield "]"
    else:
        yield embedded(data)


def describe(report: "Report") -> dict[str, Any]:
    """What picture.js draws: times in seconds since the run began, files by their place."""
    timeline, files = report.timeline, report.files
    places = {file.key: place for place, file in enumerate(files) if file.key}
    lanes = {lane.node: number for number, lane in enumerate(timeline.lanes)}
    nodes = (lanes.get(file.node or "") for file in files)
    on_path = _on_path(timeline)
    return {
        "run": report.run,
        "summary": report.summary,
        "headline": report.headline,
        "seconds": milli(timeline.seconds),
        "stages": ([stage.name, milli(stage.start), milli(stage.end)] for stage in timeline.stages),
        "nodes": tuple(_node(lane) for lane in timeline.lanes),
        "bars": (_bar(bar, lanes=lanes, places=places) for bar in _bars(timeline)),
        "path": (_step(step, lanes=lanes, bars=on_path) for step in timeline.path),
        "files": {name: map(attrgetter(name), files) for name in COLUMNS} | {"node": nodes},
    }


def _bars(timeline: Timeline) -> Iterator[Bar]:
    return (bar for lane in timeline.lanes for bar in lane.bars)


def _on_path(timeline: Timeline) -> dict[str, int]:
    """The places of the bars that the longest path leads through, by the names of its steps."""
    wanted = {step.name for step in timeline.path if step.kind == "file"}
    named = ((place, f"{bar.key}-{bar.attempt}") for place, bar in enumerate(_bars(timeline)))
    return {name: place for place, name in named if name in wanted}


def milli(seconds: float) -> float:
    return round(seconds, 3)


def _node(lane: Lane) -> dict[str, Any]:
    return {
        "id": lane.node,
        "kind": lane.kind,
        "slots": lane.slots,
        "start": milli(lane.start),
        "end": milli(lane.end),
        "lost": lane.is_gone,
        "periods": ([p.activity, milli(p.start), milli(p.end)] for p in lane.periods),
        "seconds": {activity: milli(seconds) for activity, seconds in lane.seconds.items()},
    }


def _bar(bar: Bar, *, lanes: Mapping[str, int], places: Mapping[str, int]) -> list[Any]:
    times = milli(bar.start), milli(bar.end)
    return [lanes[bar.node], bar.slot, *times, bar.state, places.get(bar.key), bar.attempt]


def _step(step: Step, *, lanes: Mapping[str, int], bars: Mapping[str, int]) -> list[Any]:
    where: str | int = step.name
    if step.kind == "file":
        where = bars[step.name]
    elif step.kind != "stage":
        where = lanes[step.name]
    return [step.kind, where, milli(step.start), milli(step.end)]


def blob_name(*, prefix: str, started_at: datetime, run_id: str) -> str:
    """Beside the outputs, where no output can be: those end in a preset's suffix."""
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    return f"{folder}reports/{started_at:%Y%m%dT%H%M%SZ}-{run_id}.html"


def path_beside(report: Path) -> Path:
    """Where the picture goes that belongs to a report file."""
    picture = report.with_suffix(".html")
    return picture if picture != report else report.with_name(f"{report.name}.html")


def is_ours(path: Path) -> bool:
    """Whether a file is such a picture, which a later one may replace."""
    with path.open("rb") as file:
        return GENERATOR in file.read(500)
