"""Files of tasks and nodes, through the real client."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from lab import Lab
from local_azure.batch import node_files
from local_azure.batch.error_codes import BatchError

SCRIPT = "printf 0123456789; mkdir 'out dir'; echo x > 'out dir/ä #%.txt'; ln -s /etc/passwd link"


def ids(task: Any) -> tuple[str, str]:
    return str(task.url).split("/")[-3], str(task.id)


def test_files_are_listed_deep_or_flat(lab: Lab, pool: str) -> None:
    task = lab.run(pool, SCRIPT)
    flat = list(lab.client.list_task_files(*ids(task)))
    assert [(file.name, file.is_directory) for file in flat] == [
        ("stderr.txt", False),
        ("stdout.txt", False),
        ("wd", True),
    ]
    assert flat[1].properties.content_length == 10
    assert flat[1].properties.file_mode.startswith("0o100")
    deep = list(lab.client.list_task_files(*ids(task), recursive=True, max_results=2))
    assert [file.name for file in deep] == [
        "stderr.txt",
        "stdout.txt",
        "wd",
        "wd/out dir",
        "wd/out dir/ä #%.txt",
    ]
    some = lab.client.list_task_files(*ids(task), recursive=True, filter="startswith(name,'wd/')")
    assert len(list(some)) == 2


def test_a_file_is_read_whole_or_in_part(lab: Lab, pool: str) -> None:
    task = lab.run(pool, SCRIPT)
    name = "wd/out dir/ä #%.txt"
    assert b"".join(lab.client.download_task_file(*ids(task), name)) == b"x\n"
    for asked, expected in [("0-3", b"0123"), ("7-", b"789"), ("8-100", b"89")]:
        part = lab.client.download_task_file(*ids(task), "stdout.txt", ocp_range=f"bytes={asked}")
        assert b"".join(part) == expected


@pytest.mark.parametrize(
    ("asked", "code"), [("bytes=10-", "InvalidRange"), ("lines=1-2", "InvalidHeaderValue")]
)
def test_a_range_outside_the_file_is_refused(lab: Lab, pool: str, asked: str, code: str) -> None:
    task = lab.run(pool, SCRIPT)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.download_task_file(*ids(task), "stdout.txt", ocp_range=asked)
    caught.value.response.read()
    assert caught.value.response.json()["code"] == code


def test_the_properties_of_a_file_are_in_the_headers(lab: Lab, pool: str) -> None:
    task = lab.run(pool, SCRIPT)
    file = lab.client.get_task_file_properties(*ids(task), "stdout.txt")
    assert (file.content_length, file.is_directory) == (10, False)
    assert file.url == f"{task.url}/files/stdout.txt"
    assert file.creation_time == file.last_modified
    assert file.file_mode.startswith("0o100")


def test_a_deleted_file_is_gone(lab: Lab, pool: str) -> None:
    task = lab.run(pool, SCRIPT)
    lab.client.delete_task_file(*ids(task), "stdout.txt")
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.get_task_file_properties(*ids(task), "stdout.txt")
    assert caught.value.status_code == 404
    with pytest.raises(HttpResponseError) as refused:
        lab.client.delete_task_file(*ids(task), "wd")
    assert refused.value.error.code == "OperationInvalidForCurrentState"
    lab.client.delete_task_file(*ids(task), "wd", recursive=True)
    assert [file.name for file in lab.client.list_task_files(*ids(task))] == ["stderr.txt"]


def test_the_root_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "wd").mkdir()
    for name in (".", "./", "wd/..", ""):
        with pytest.raises(BatchError, match="FileNotFound"):
            node_files.find(tmp_path, name)


@pytest.mark.parametrize(
    "name",
    ["none", "..%2F..%2Fother", "%2Fetc%2Fpasswd", "wd%2Flink", "wd%2F..%2Fstdout.txt", "a%00b"],
)
def test_files_that_the_task_does_not_have_are_not_found(lab: Lab, pool: str, name: str) -> None:
    task = lab.run(pool, SCRIPT)
    job_id, task_id = ids(task)
    answer = lab.refused("GET", f"/jobs/{job_id}/tasks/{task_id}/files/{name}")
    assert answer == (404, "FileNotFound")


def test_a_folder_cannot_be_downloaded(lab: Lab, pool: str) -> None:
    job_id, task_id = ids(lab.run(pool, SCRIPT))
    answer = lab.refused("GET", f"/jobs/{job_id}/tasks/{task_id}/files/wd")
    assert answer == (409, "OperationInvalidForCurrentState")


def test_a_waiting_task_has_no_files_yet(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    task_id = lab.task(job_id)
    answer = lab.refused("GET", f"/jobs/{job_id}/tasks/{task_id}/files")
    assert answer == (409, "OperationInvalidForCurrentState")


def test_files_are_unavailable_after_their_node_was_removed(lab: Lab, pool: str) -> None:
    job_id, task_id = ids(lab.run(pool, SCRIPT))
    lab.client.begin_delete_pool(pool, polling_interval=0).wait()
    answer = lab.refused("GET", f"/jobs/{job_id}/tasks/{task_id}/files")
    assert answer == (409, "TaskFilesUnavailable")


def test_a_nodes_files_are_listed_read_and_deleted(lab: Lab, pool: str) -> None:
    task = lab.run(pool, SCRIPT)
    place = (pool, task.node_info.node_id)
    folder = task.node_info.task_root_directory
    names = [file.name for file in lab.client.list_node_files(*place, recursive=True)]
    assert {"shared", "startup", "workitems", f"{folder}/stdout.txt"} <= set(names)
    path = f"{folder}/stdout.txt"
    assert b"".join(lab.client.download_node_file(*place, path, ocp_range="bytes=2-3")) == b"23"
    assert lab.client.get_node_file_properties(*place, path).content_length == 10
    lab.client.delete_node_file(*place, path)
    with pytest.raises(ResourceNotFoundError):
        lab.client.get_node_file_properties(*place, path)


def test_a_file_that_has_not_changed_is_not_sent_again(lab: Lab, pool: str) -> None:
    job_id, task_id = ids(lab.run(pool, SCRIPT))
    later = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    path = f"/jobs/{job_id}/tasks/{task_id}/files/stdout.txt"
    assert lab.send("GET", path, headers=later).status_code == 304
