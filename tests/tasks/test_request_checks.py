import os
import sys
from pathlib import Path

import pytest
from records import a_conversion, a_file, a_source

from tasks.errors import UsageError
from tasks.media.sources import find_local_files
from tasks.parameters import Cleanup, Output, Request
from tasks.request_checks import (
    check_downloads,
    check_overlap,
    check_report,
    check_request,
    is_writable,
)


@pytest.mark.parametrize(
    ("output", "uploads", "purpose"),
    [
        ("input-failures", "input", "the memory"),
        ("input-logs", "input", "the logs"),
        ("output", f"{'a' * 58}-logs", "the logs"),  # there is no longer name
    ],
)
def test_outputs_and_uploads_are_not_where_failures_are_remembered_or_nodes_log(
    output: str, uploads: str, purpose: str
) -> None:
    request = Request(
        sources=["az://media"],
        output=Output(container=output),
        cleanup=Cleanup(container=uploads),
    )
    with pytest.raises(UsageError, match=f"-(logs|failures)' is reserved for {purpose}"):
        check_request(request)


def test_a_request_without_sources_is_an_error() -> None:
    with pytest.raises(UsageError, match="No source is given"):
        check_request(Request(sources=[]))


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("az://media", {"container": "media"}),
        ("az://media/", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp3/old", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp", {"container": "media", "prefix": "mp3"}),
        ("az://media/raw", {"container": "media"}),
    ],
)
def test_outputs_inside_a_source_container_are_refused(source: str, output: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=f"overlap the source '{source}'"):
        check_overlap([source], Output(**output))


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("az://media", {"container": "output"}),
        ("az://media/raw", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp3-old", {"container": "media", "prefix": "mp3"}),
        ("az://media/raw/", {"container": "media", "prefix": "raw-mp3"}),
    ],
)
def test_outputs_beside_the_sources_of_a_container_are_accepted(
    source: str, output: dict[str, str]
) -> None:
    check_overlap([source], Output(**output))


def test_downloads_into_a_source_folder_are_refused_but_not_beside_it(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for inside in (library, library / "out", tmp_path / "x" / ".." / "library" / "out"):
        with pytest.raises(UsageError, match="--download-to is inside the source folder"):
            check_overlap([str(library)], Output(download_to=str(inside)))
    check_overlap([str(library)], Output(download_to=str(tmp_path / "library-mp3")))


def test_a_download_that_would_overwrite_its_source_is_refused(tmp_path: Path) -> None:
    source = a_file(tmp_path / "a.mp4")
    output = Output(download_to=str(tmp_path))
    check_downloads([a_conversion(source)], output)
    with pytest.raises(
        UsageError, match=r"The output of '.*a\.mp4' would be downloaded over the source itself"
    ):
        check_downloads([a_conversion(source, output="a.mp4")], output)
    check_downloads([a_conversion(source, output="a.mp4")], Output())


@pytest.mark.parametrize("report", ["a.mp4", "sub/../a.mp4", "link.json", "hard.json", "pipe.mp4"])
def test_a_report_that_would_replace_a_source_is_refused(tmp_path: Path, report: str) -> None:
    a_file(tmp_path / "a.mp4")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.json").symlink_to("a.mp4")
    (tmp_path / "hard.json").hardlink_to(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    sources = [*find_local_files(str(tmp_path))]
    with pytest.raises(UsageError, match=r"would be written, but it is a source\. Choose another"):
        check_report(sources, Output(report=str(tmp_path / report)))


def test_a_report_whose_picture_would_replace_a_source_is_refused(tmp_path: Path) -> None:
    source = a_file(tmp_path / "a.html")
    with pytest.raises(UsageError, match=r"With the report .*a\.json, .*a\.html would be written"):
        check_report([source], Output(report=str(tmp_path / "a.json")))


def test_a_report_beside_the_sources_is_accepted(tmp_path: Path) -> None:
    sources = [a_file(tmp_path / "a.mp4"), a_source(location="az://media/r.json")]
    twin = a_file(tmp_path / "twin.json")
    found = (tmp_path / "a.mp4").stat()
    os.utime(twin.location, ns=(found.st_atime_ns, found.st_mtime_ns))  # size and time are equal
    for name in ("r.json", "twin.json", "new/r.json"):
        check_report(sources, Output(report=str(tmp_path / name)))
    check_report(sources, Output())


@pytest.mark.parametrize("report", ["out/talks/a.mp3", "link/talks/a.mp3", "out/talks"])
def test_a_report_that_would_replace_a_download_is_refused(tmp_path: Path, report: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    conversion = a_conversion(a_source("talks/a.mp4"))
    folder = str(tmp_path / "out")
    with pytest.raises(UsageError, match="which is where the report would be written"):
        check_downloads([conversion], Output(download_to=folder, report=str(tmp_path / report)))
    beside = Output(download_to=folder, report=f"{folder}/talks/r.json")
    check_downloads([conversion], beside)


def test_a_download_through_a_link_out_of_the_allowed_folders_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talks").symlink_to("/etc")
    monkeypatch.setenv("CONVERT_FOLDERS", str(tmp_path))
    output = Output(download_to=str(tmp_path / "out"))
    check_downloads([a_conversion(output="a.mp3")], output)
    with pytest.raises(UsageError, match=r"out/talks leads to /etc, which is outside"):
        check_downloads([a_conversion(output="talks/a.mp3")], output)


def test_a_loop_of_links_as_a_source_does_not_stop_the_checks(tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    output = Output(download_to=str(tmp_path / "out"))
    check_request(Request(sources=[str(tmp_path / "loop.mp4")], output=output))
    source = a_source(location=str(tmp_path / "loop.mp4"))
    check_downloads([a_conversion(source, output="a.mp3")], output)


def test_a_folder_is_writable_if_it_exists_or_can_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert is_writable(tmp_path / "new" / "newer")
    assert not is_writable(tmp_path / "file")
    assert not is_writable(tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_folder_with_misleading_permissions_is_not_writable() -> None:
    assert not is_writable(Path("/proc/self"))


def test_an_empty_source_is_refused_and_not_read_as_this_folder() -> None:
    with pytest.raises(UsageError, match=r"The name of a source is empty\. Name a file"):
        check_request(Request(sources=[""], output=Output(download_to="out")))


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"download_to": "file"}, r"file is not a writable folder"),
        ({"download_to": "file/below"}, r"below is not a writable folder"),
        ({"report": "."}, r"is a folder"),
        ({"report": "pipe"}, r"pipe cannot be written: it is a pipe, a socket or a device\. Name"),
        ({"report": "/dev/null"}, r"it is a pipe, a socket or a device"),
        ({"report": "file/r.json"}, r"file is not a writable folder"),
    ],
)
def test_an_unwritable_target_is_refused_first(
    output: dict[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=problem):
        check_request(Request(sources=["a.mp4"], output=Output(**output)))
