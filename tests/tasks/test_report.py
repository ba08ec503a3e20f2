"""The files that the report stage writes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from records import a_conversion, a_ledger, a_plan, a_request, a_source, at

from tasks.errors import ReportUnwrittenError
from tasks.models import Diagnosis
from tasks.report import write_report
from tasks.results.run_report import Report, is_report, json_values

DIAGNOSIS = Diagnosis("DeadlinePassed", "The deadline has passed.", "", "Run again.")


def test_the_report_file_has_what_the_report_has(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    request = a_request(output={"report": str(path)})
    plan = a_plan(a_conversion(a_source("\udcff é.mp4"), output="%FF é.mp3"))
    report = write_report(a_ledger(request=request, plan=plan, diagnosis=DIAGNOSIS))
    content = json.loads(path.read_text())
    assert content["run"]["diagnosis"]["code"] == "DeadlinePassed"
    assert content["files"][0]["source"] == "\udcff é.mp4"
    assert content["summary"] == json_values(report.summary)
    assert content["run"]["picture"].startswith("reports/20261122T120000Z-")
    assert sorted(p.name for p in path.parent.iterdir()) == ["r.html", "r.json"]


def test_an_error_about_an_unwritten_report_has_the_report(small_disk: Path) -> None:
    path = small_disk / "r.json"
    (small_disk / "full").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(ReportUnwrittenError, match="No space left on device") as caught:
        write_report(a_ledger(request=a_request(output={"report": str(path)})))
    assert isinstance(caught.value.report, Report)
    assert str(path) in str(caught.value)
    assert [each.name for each in small_disk.iterdir()] == ["full"]


def test_a_users_file_with_the_name_of_the_picture_is_kept_aside(tmp_path: Path) -> None:
    report, picture = tmp_path / "index.json", tmp_path / "index.html"
    picture.write_text("the user's own")
    request = a_request(output={"report": str(report)})
    write_report(a_ledger(request=request))
    write_report(a_ledger(request=request))
    assert (tmp_path / "index.html~").read_text() == "the user's own"
    assert [p.name for p in tmp_path.glob("*~*")] == ["index.html~"]


def test_a_users_file_with_the_name_of_the_report_is_kept_aside(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    request = a_request(output={"report": str(report)})
    for content in ('{"run": 1}', "media"):
        report.write_text(content)
        write_report(a_ledger(request=request))
    assert (tmp_path / "r.json~").read_text() == '{"run": 1}'
    assert (tmp_path / "r.json~2").read_text() == "media"
    assert is_report(report)


def test_the_report_and_the_picture_of_an_earlier_run_keep_a_name_that_says_when(
    tmp_path: Path,
) -> None:
    report, picture = tmp_path / "r.json", tmp_path / "r.html"
    request = a_request(output={"report": str(report)})
    write_report(a_ledger(request=request))
    first = picture.read_bytes()
    report.write_text(json.dumps(json.loads(report.read_text()), separators=(",", ":")))
    for second in (0, 0.9):  # two more runs end in one second
        moment = at(second).timestamp()
        os.utime(report, (moment, moment))  # a report that was formatted again is still ours
        write_report(a_ledger(request=request))
    times = ("20261122T120000Z", "20261122T120000Z2")
    kept = {f"r-{time}.{kind}" for time in times for kind in ("json", "html")}
    assert {p.name for p in tmp_path.iterdir()} == {"r.json", "r.html", *kept}
    assert (tmp_path / "r-20261122T120000Z.html").read_bytes() == first
    assert is_report(tmp_path / "r-20261122T120000Z.json")


@pytest.mark.parametrize("target", ["a report", "a file", "nowhere"])
def test_a_link_with_the_name_of_the_report_is_kept_aside_and_its_target_is_unchanged(
    tmp_path: Path, target: str
) -> None:
    write_report(a_ledger(request=a_request(output={"report": str(tmp_path / "a report")})))
    (tmp_path / "a file").write_text("the user's own")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    report = tmp_path / "r.json"
    report.symlink_to(target)
    write_report(a_ledger(request=a_request(output={"report": str(report)})))
    assert not report.is_symlink()
    assert str((tmp_path / "r.json~").readlink()) == target
    assert {path: path.read_bytes() for path in before} == before


def test_a_file_that_cannot_be_read_is_kept_aside(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("root can read every file")
    report = tmp_path / "r.json"
    report.touch(mode=0o200)
    write_report(a_ledger(request=a_request(output={"report": str(report)})))
    assert (tmp_path / "r.json~").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_a_pipe_or_a_folder_with_the_name_of_the_picture_is_kept_aside(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    report, picture = tmp_path / "index.json", tmp_path / "index.html"
    make(picture)
    write_report(a_ledger(request=a_request(output={"report": str(report)})))
    assert picture.read_bytes().startswith(b"<!")
    assert not (tmp_path / "index.html~").is_file()


def test_a_pipe_in_place_of_the_report_is_an_error_that_has_the_report(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.json")
    request = a_request(output={"report": str(tmp_path / "r.json")})
    with pytest.raises(ReportUnwrittenError, match=r"it is a pipe, a socket or a device") as caught:
        write_report(a_ledger(request=request))
    assert caught.value.report.summary.files == 1


def test_without_a_report_path_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(a_ledger())
    assert list(tmp_path.iterdir()) == []
