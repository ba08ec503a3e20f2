"""The command as people run it: a process of its own, its words, its exit status, its signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from databases import EmptyDatabase

from local_azure.testing import local_stack
from programs import CONVERT, read_until

Library = Callable[..., Path]


@pytest.fixture
def run(account: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command to its end, with the account in its environment."""

    def run(
        *words: str | Path, without: Collection[str] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | account | more
        return subprocess.run(
            [*CONVERT, *words],
            cwd=tmp_path,
            env={name: value for name, value in environment.items() if name not in without},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def without_account() -> dict[str, str]:
    hidden = ("AZURE_", "PREFECT_API_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


@pytest.fixture
def bare(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command to its end, without an account or Prefect server."""

    def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CONVERT, *words],
            cwd=tmp_path,
            env=without_account() | more,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


def test_without_source_and_account_it_converts_five_samples_on_this_machine(
    bare: Run, tmp_path: Path
) -> None:
    ended = bare("--download-to", "out")
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "out").glob("*.mp3"))) == 5
    assert "5 converted in" in ended.stdout
    assert "Error" not in ended.stderr


def test_help_is_a_page_with_every_parameter_and_needs_neither_prefect_nor_an_sdk(
    bare: Run,
) -> None:
    ended = bare("--help", PYTHONPROFILEIMPORTTIME="1")
    assert ended.returncode == 0
    for flag in ("--preset", "--download-to", "--report", "--dry-run", "--pool.spot-nodes"):
        assert flag in ended.stdout
    imported = set(re.findall(r"\| +(\w+)$", ended.stderr, re.MULTILINE))
    assert not imported & {"prefect", "azure", "aiohttp", "av"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prest", "mp3"], "Unknown option: --prest. Did you mean --preset?"),
        (["--preset", "mp4"], "--preset: Input should be 'mp3', 'mp3-320k'"),
        (["--preset", "mp3", "--preset", "mp3"], "--preset: preset 'mp3' is named twice."),
        (["--pool.spot-nodes", "5000"], "--pool.spot-nodes: Input should be less than or equal"),
        (["--pool.spot-nodes", "0"], "set pool.spot_nodes or pool.dedicated_nodes"),
        (["--options=-i /etc/passwd"], "ffmpeg option '-i' is not allowed"),
        (["nosuch"], "There is no file or folder 'nosuch' (/"),
        (["*.nosuch"], "No file matches '*.nosuch' (/"),
        (["az://"], "'az://' does not name a container."),
    ],
)
def test_wrong_usage_ends_with_status_2_and_one_clear_line(
    bare: Run, words: list[str], message: str
) -> None:
    ended = bare(*words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


WITHOUT_LOCAL_AZURE = """
import sys
sys.path = [path for path in sys.path if "deployments" not in path]
from flows.cli.startup import run_convert
run_convert()
"""


def test_without_account_and_local_azure_the_error_names_both_ways(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCAL_AZURE, tmp_path],
        cwd=tmp_path,
        env=without_account(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "set AZURE_BATCH_ENDPOINT" in ended.stderr
    assert "pip install ./deployments/local" in ended.stderr


def test_the_version_is_that_of_the_distribution(bare: Run) -> None:
    ended = bare("--version")
    assert (ended.returncode, ended.stdout) == (0, f"{version('batch-convert')}\n")


def test_half_an_account_ends_with_status_2_and_names_what_is_missing(
    bare: Run, library: Library
) -> None:
    ended = bare(library("a.mp4"), AZURE_BATCH_ENDPOINT="https://batch.example")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "Missing: AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT" in ended.stderr


def test_a_folder_without_media_ends_with_status_2_and_one_clear_line_before_anything_starts(
    bare: Run, tmp_path: Path
) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "a.txt").touch()
    ended = bare("library")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: No media files found in 'library' ({tmp_path}/library).")
    assert "Ignored 1 file: 1 .txt." in line


def test_a_name_that_is_not_utf_8_ends_with_status_2_and_one_clear_line(
    run: Run, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xff.mp4")
    (tmp_path / name).touch()
    ended = run(name)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: The name \\udcff.mp4 is not valid UTF-8."
        " Rename it, or name the folder that contains it.\n"
    )


def test_a_terminal_without_the_characters_of_a_name_shows_them_escaped(
    run: Run, library: Library
) -> None:
    ended = run(library("é→.mp4"), "--dry-run", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert "\\xe9\\u2192.mp4" in ended.stdout


def test_failed_files_end_with_status_1_and_a_row_with_the_reason(
    run: Run, library: Library, containers: tuple[str, str]
) -> None:
    folder = library("good.mp4")
    (folder / "empty.mp4").touch()
    ended = run(folder, "--container", containers[0])
    assert ended.returncode == 1
    assert re.search(r"empty\.mp4 +failed +the file is empty", ended.stdout)
    assert re.search(r"good\.mp4 +converted +\d+\.\d +\d+\.\d kB +good\.mp3", ended.stdout)
    assert "1 converted, 1 failed in" in ended.stdout


def test_rows_of_several_presets_are_told_apart(
    run: Run, library: Library, containers: tuple[str, str]
) -> None:
    folder = library("a.mp4")
    (folder / "empty.mp4").touch()
    words = (folder, "--preset", "wav", "--preset", "mp3", "--container", containers[0])
    ended = run(*words)
    assert ended.returncode == 1
    assert re.search(r"a\.mp4 +mp3 +converted .* a\.mp3 *\n", ended.stdout)
    assert re.search(r"a\.mp4 +wav +converted .* a\.wav *\n", ended.stdout)
    assert len(re.findall(r"empty\.mp4 +(?:mp3|wav) +failed +the file is empty", ended.stdout)) == 2
    assert "2 converted, 2 failed in" in ended.stdout


def test_a_full_disk_costs_no_conversion_and_the_next_run_fetches_what_is_there(
    run: Run, library: Library, containers: tuple[str, str], small_disk: Path
) -> None:
    filler, report = small_disk / "filler", small_disk.parent / "r.json"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))
    words = (library("a.mp4", "b.mp4"), "--container", containers[0], "--download-to", small_disk)
    ended = run(*words, "--report", report)
    assert ended.returncode == 1
    assert f"error: {small_disk}/" in ended.stderr
    assert "No space left on device. Free disk space or choose another folder" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "2 converted in" in ended.stdout
    assert json.loads(report.read_text())["summary"]["converted"] == 2
    assert list(small_disk.iterdir()) == [filler]
    filler.unlink()
    ended = run(*words)
    assert ended.returncode == 0, ended.stderr
    assert "2 skipped in" in ended.stdout
    assert sorted(path.name for path in small_disk.iterdir()) == ["a.mp3", "b.mp3"]


def test_a_report_that_cannot_be_written_in_the_end_costs_no_conversion(
    run: Run, library: Library, containers: tuple[str, str], small_disk: Path
) -> None:
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    report = small_disk / "r.json"
    ended = run(library("a.mp4"), "--container", containers[0], "--report", report)
    assert ended.returncode == 1
    assert "1 converted in" in ended.stdout
    assert f"error: The report {report} cannot be written: No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_where_no_source_is_good_it_says_so(run: Run, library: Library) -> None:
    folder = library("a.mp4")
    (folder / "a.mp4").write_text("no film")
    ended = run(folder)
    assert ended.returncode == 1
    assert "None of the sources could be converted." in ended.stdout


@pytest.mark.accounts("key")
def test_an_account_that_refuses_the_key_is_named_with_a_remedy(
    run: Run, library: Library, account: dict[str, str]
) -> None:
    wrong = re.sub(
        "AccountKey=[^;]+", "AccountKey=d3Jvbmc=", account["AZURE_STORAGE_CONNECTION_STRING"]
    )
    ended = run(library("a.mp4"), AZURE_STORAGE_CONNECTION_STRING=wrong)
    assert ended.returncode == 2
    assert "error: 1 of 9 checks failed:" in ended.stderr
    assert "Azure Storage refused a request: 403 AuthorizationFailure." in ended.stderr
    assert "Check the key" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("AZURE_BATCH_ENDPOINT", "batch.example", "AZURE_BATCH_ENDPOINT must begin with https://"),
        ("AZURE_BATCH_ACCESS_KEY", "abc", "AZURE_BATCH_ACCESS_KEY is not a key"),
        ("AZURE_STORAGE_CONNECTION_STRING", "garbage", "must contain AccountName"),
    ],
)
def test_a_malformed_setting_ends_with_status_2_and_is_named(
    run: Run, library: Library, setting: str, value: str, message: str
) -> None:
    ended = run(library("a.mp4"), **{setting: value})
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://127.0.0.1:9/api",
            "error: The Prefect server at http://127.0.0.1:9/api does not respond.",
        ),
        (
            "127.0.0.1:4200/api",
            "error: PREFECT_API_URL is '127.0.0.1:4200/api', which is not a URL.",
        ),
        (
            "http://[::1:4200/api",
            "error: PREFECT_API_URL is 'http://[::1:4200/api', which is not a URL.",
        ),
    ],
)
def test_a_prefect_server_that_does_not_respond_is_reported_in_one_line(
    run: Run, library: Library, url: str, message: str
) -> None:
    ended = run(library("a.mp4"), PREFECT_API_URL=url)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_in_a_profile_is_used_if_the_data_folder_cannot_be_written(
    run: Run, library: Library, tmp_path: Path, prefect_server: str
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{prefect_server}"\n')
    no_folder = tmp_path / "file"
    no_folder.touch()
    ended = run(
        library("a.mp4"),
        "--dry-run",
        without=["PREFECT_API_URL"],
        PREFECT_PROFILES_PATH=str(profiles),
        XDG_DATA_HOME=str(no_folder),
    )
    assert ended.returncode == 0, ended.stderr


def test_ctrl_c_while_python_imports_ends_it_in_one_line(started: Any) -> None:
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    process = started(environment=environment)
    read_until(process.stdout, "typing")
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=90)
    assert process.returncode == 130
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == [
        "error: interrupted. Nothing was started."
    ]


def test_after_an_interruption_the_same_command_converts_the_rest(
    started: Any, clip: Callable[..., Path]
) -> None:
    source = clip(".mp4", audio=30, video=30)
    process = started(source, "--preset", "webm")
    read_until(process.stdout, " added")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=90)
    rest, _ = started(source, "--preset", "webm").communicate(timeout=120)
    assert "0 of 1 file to upload" in rest
    assert "1 converted in" in rest


def test_it_finds_the_stack_that_runs_in_another_terminal(
    bare: Run, library: Library, tmp_path: Path, prefect_server: str
) -> None:
    folder = library("a.mp4")
    with local_stack(tmp_path / "batch-convert") as stack:
        ended = bare(folder, XDG_DATA_HOME=str(tmp_path), PREFECT_API_URL=prefect_server)
        assert ended.returncode == 0, ended.stderr
        connection = stack.settings["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(connection) as blobs:
            assert blobs.get_blob_client("output", "a.mp3").exists()


def test_ctrl_c_ends_a_stack_and_a_server_of_its_own_too(
    started: Any, clip: Callable[..., Path], tmp_path: Path, empty_database: EmptyDatabase
) -> None:
    empty_database.copy_to(tmp_path / "batch-convert")
    environment = without_account() | {"XDG_DATA_HOME": str(tmp_path)}
    source = clip(".mp4", audio=30, video=30)
    process = started(source, "--preset", "webm", environment=environment)
    read_until(process.stdout, " added")
    assert "batch-convert" in processes_of(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    assert processes_of(tmp_path) == ""


def processes_of(folder: Path) -> str:
    """The command lines of all processes that name the folder."""
    every = ["ps", "-eww", "-o", "args"]
    listing = subprocess.run(every, capture_output=True, text=True, check=True)
    return "\n".join(line for line in listing.stdout.splitlines() if str(folder) in line)


def test_any_client_of_the_sdk_works_with_the_settings_of_the_env_file(stack: Any) -> None:
    settings = stack.settings
    key = AzureNamedKeyCredential(
        settings["AZURE_BATCH_ACCOUNT"], settings["AZURE_BATCH_ACCESS_KEY"]
    )
    with BatchClient(settings["AZURE_BATCH_ENDPOINT"], key) as client:
        assert any(image.os_type == "linux" for image in client.list_supported_images())
