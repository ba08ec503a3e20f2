"""The picture of a run: one HTML file that works without a server, a network or other files."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from tasks.files import open_regular
from tasks.results.critical_path import Step
from tasks.results.lanes import Bar, Lane, StagePeriod
from tasks.results.run_report import Report, json_values
from tasks.results.text import labels
from tasks.results.timeline import Timeline

FOLDER = Path(__file__).parent
COLUMNS = (
    *("source", "preset", "output", "state", "reason", "attempts", "seconds"),
    *("source_seconds", "output_bytes", "note", "track", "copied", "warnings"),
)
VALUES_PER_PIECE = 1000
DATA = "{{data}}"
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
GENERATOR = b'<meta name="generator" content="batch-convert">'  # identifies our pictures
SCRIPT_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def draw(report: Report, page: IO[bytes]) -> None:
    """Write the page with its data. Its policy forbids all requests, and it makes none."""
    style, script = ((FOLDER / f"picture.{suffix}").read_text() for suffix in ("css", "js"))
    parts = {"policy": policy(style=style, script=script), "style": style, "script": script}
    before, after = (FOLDER / "picture.html").read_text().split(DATA)
    page.write(fill_in(before, parts).encode())
    for piece in json_pieces(describe(report)):
        page.write(piece.encode())
    page.write(fill_in(after, parts).encode())


def fill_in(template: str, parts: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: parts[found[1]], template)


def policy(*, style: str, script: str) -> str:
    """Return a content security policy that allows this style and this script, and nothing else."""
    rules = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    rules |= {"style-src": fingerprint(style), "script-src": fingerprint(script)}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_json(data: Any) -> str:
    """Return ASCII JSON without <, > and &, so that no file name can end the script element."""
    return json.dumps(data, separators=(",", ":")).translate(SCRIPT_ESCAPES)


def json_pieces(data: Any) -> Iterator[str]:
    """Yield the same JSON in pieces. An iterator becomes an array that is never whole in memory."""
    if isinstance(data, Mapping):
        for place, (name, value) in enumerate(data.items()):
            yield f"{',' if place else '{'}{script_json(name)}:"
            yield from json_pieces(value)
        yield "}" if data else "{}"
    elif isinstance(data, tuple):
        for place, value in enumerate(data):
            yield "," if place else "["
            yield from json_pieces(value)
        yield "]" if data else "[]"
    elif isinstance(data, Iterator):
        yield "["
        separator = ""
        while values := list(islice(data, VALUES_PER_PIECE)):
            yield separator + script_json(values)[1:-1]
            separator = ","
        yield "]"
    else:
        yield script_json(data)


def describe(report: Report) -> dict[str, Any]:
    """Return the data of picture.js. Times are seconds since the start; files are indexes."""
    timeline, files = report.timeline, report.files
    places = {file.key: place for place, file in enumerate(files) if file.key}
    lanes = {lane.node: number for number, lane in enumerate(timeline.lanes)}
    nodes = (lanes.get(file.node or "") for file in files)
    on_path = bars_on_path(timeline)
    return {
        "run": json_values(report.run),
        "summary": json_values(report.summary),
        "headline": report.headline,
        "seconds": round_to_ms(timeline.seconds),
        "stages": map(stage_values, timeline.stages),
        "nodes": tuple(node_values(lane) for lane in timeline.lanes),
        "bars": (bar_values(bar, lanes=lanes, places=places) for bar in all_bars(timeline)),
        "path": (step_values(step, lanes=lanes, bars=on_path) for step in timeline.path),
        "files": {name: map(attrgetter(name), files) for name in COLUMNS}
        | {"source": iter(labels(files)), "node": nodes},
    }


def stage_values(stage: StagePeriod) -> list[Any]:
    return [stage.name, round_to_ms(stage.start), round_to_ms(stage.end)]


def all_bars(timeline: Timeline) -> Iterator[Bar]:
    return (bar for lane in timeline.lanes for bar in lane.bars)


def bars_on_path(timeline: Timeline) -> dict[str, int]:
    """Return the indexes of the bars on the critical path, by batch task."""
    names = {step.name for step in timeline.path if step.kind == "file"}
    bars = enumerate(all_bars(timeline))
    return {bar.batch_task: place for place, bar in bars if bar.batch_task in names}


def round_to_ms(seconds: float) -> float:
    return round(seconds, 3)


def node_values(lane: Lane) -> dict[str, Any]:
    return {
        "id": lane.node,
        "kind": lane.kind,
        "slots": lane.slots,
        "start": round_to_ms(lane.start),
        "end": round_to_ms(lane.end),
        "lost": lane.is_gone,
        "periods": ([p.activity, round_to_ms(p.start), round_to_ms(p.end)] for p in lane.periods),
        "seconds": {activity: round_to_ms(seconds) for activity, seconds in lane.seconds.items()},
    }


def bar_values(bar: Bar, *, lanes: Mapping[str, int], places: Mapping[str, int]) -> list[Any]:
    times = round_to_ms(bar.start), round_to_ms(bar.end)
    return [lanes[bar.node], bar.slot, *times, bar.state, places.get(bar.key), bar.attempt]


def step_values(step: Step, *, lanes: Mapping[str, int], bars: Mapping[str, int]) -> list[Any]:
    where: str | int = step.name
    if step.kind == "file":
        where = bars[step.name]
    elif step.kind != "stage":
        where = lanes[step.name]
    return [step.kind, where, round_to_ms(step.start), round_to_ms(step.end)]


def path_beside(report: Path) -> Path:
    """Return the path of the picture that belongs to a report file."""
    picture = report.with_suffix(".html")
    return picture if picture != report else report.with_name(f"{report.name}.html")


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture of a run, which a later one may replace."""
    try:
        with open_regular(path) as file:
            return GENERATOR in file.read(500)
    except OSError:
        return False
