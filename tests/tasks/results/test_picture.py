"""The picture as a file: it needs no other file, and names in it stay data."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs import HOSTILE, a_big_report, picture_of

from tasks.results.picture import fingerprint, is_picture, path_beside


class Parts(HTMLParser):
    """The styles and scripts of a page, and the URLs that a browser would fetch for it."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.fetched: list[str] = []
        self.policy = ""
        self._tag = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._tag = f"{tag} {given['type']}" if "type" in given and tag == "script" else tag
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  the base class passes it
        self._tag = ""

    def handle_data(self, text: str) -> None:
        self.texts.setdefault(self._tag, []).append(text)


def test_the_page_needs_no_other_file_and_its_policy_forbids_any() -> None:
    parts = Parts(picture_of(a_big_report(files=20)))
    assert parts.fetched == []
    (style,), (script,) = parts.texts["style"], parts.texts["script"]
    assert "default-src 'none'" in parts.policy
    assert f"style-src {fingerprint(style)}" in parts.policy
    assert f"script-src {fingerprint(script)}" in parts.policy


def test_hostile_names_stay_data() -> None:
    report = a_big_report(files=20)
    parts = Parts(picture_of(report))
    (data,) = parts.texts["script application/json"]
    assert re.search("[<>&\u2028\u2029]", data) is None
    assert data.isascii()
    names = json.loads(data)["files"]["source"]
    assert names == [file.source for file in report.files]
    assert set(HOSTILE) < set(names)


def test_each_bar_and_each_step_refers_to_its_file() -> None:
    report = a_big_report(files=60, nodes=3, slots=2)
    (text,) = Parts(picture_of(report)).texts["script application/json"]
    data = json.loads(text)
    assert len(data["bars"]) == 60
    for _, _, start, end, state, file, _ in data["bars"]:
        assert start < end
        assert data["files"]["state"][file] == {"succeeded": "converted"}.get(state, state)
    steps = [what for kind, what, *_ in data["path"] if kind == "file"]
    assert steps
    assert all(data["bars"][step] for step in steps)


@pytest.mark.parametrize(
    ("report", "picture"), [("r.json", "r.html"), ("r", "r.html"), ("r.html", "r.html.html")]
)
def test_the_picture_is_beside_the_report_file_and_never_replaces_it(
    report: str, picture: str
) -> None:
    assert path_beside(Path("/x", report)) == Path("/x", picture)


def test_a_picture_of_ours_is_recognised(tmp_path: Path) -> None:
    ours, other = tmp_path / "a.html", tmp_path / "b.html"
    ours.write_bytes(picture_of(a_big_report(files=3)))
    other.write_text("<!doctype html><title>mine</title>")
    assert is_picture(ours)
    assert not is_picture(other)
