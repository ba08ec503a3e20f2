"""Resource files and output files, against Azurite."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import models as m

from lab import Blobs, Lab
from local_azure.batch import transfers

CONTENT = b"\0\1\2media" * 1_000_000


def resource(url: str, name: str = "input", **options: Any) -> m.ResourceFile:
    return m.ResourceFile(http_url=url, file_path=name, **options)


def output(
    url: str, pattern: str, *, path: str | None = None, on: str = "tasksuccess", **headers: str
) -> m.OutputFile:
    container = m.OutputFileBlobContainerDestination(
        container_url=url,
        path=path,
        upload_headers=[
            m.OutputFileUploadHeader(name=name, value=value) for name, value in headers.items()
        ],
    )
    return m.OutputFile(
        file_pattern=pattern,
        destination=m.OutputFileDestination(container=container),
        upload_options=m.OutputFileUploadConfiguration(upload_condition=on),
    )


def names(container: Any) -> list[str]:
    return list(container.list_blob_names())


def test_resource_files_are_downloaded_and_output_files_uploaded(
    lab: Lab, pool: str, blobs: Blobs
) -> None:
    source, target = blobs.container(), blobs.container()
    source.upload_blob("a b.mp4", CONTENT)
    headers = {"x-ms-meta-key": "K 1", "Content-Type": "audio/mpeg"}
    task = lab.run(
        pool,
        "stat -c %a in/input; cp in/input out.mp3",
        resource_files=[
            resource(
                blobs.url(source, permission="r", blob="a b.mp4"), "in/input", file_mode="0750"
            )
        ],
        output_files=[
            output(blobs.url(target, permission="w"), "out.mp3", path="x/y 1.mp3", **headers)
        ],
    )
    assert task.execution_info.result == "success"
    assert lab.output(task) == "750\n"
    blob = target.get_blob_client("x/y 1.mp3")
    properties = blob.get_blob_properties()
    assert properties.metadata == {"key": "K 1"}
    assert properties.content_settings.content_type == "audio/mpeg"
    assert blob.download_blob().readall() == CONTENT
    assert lab.output(task, "fileuploadout.txt") == "out.mp3 -> x/y 1.mp3\n"


def test_a_file_that_is_too_large_for_one_request_is_uploaded_in_blocks(
    lab: Lab, pool: str, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "LARGEST_PUT_BYTES", 3 << 20)
    target = blobs.container()
    url = blobs.url(target, permission="w")
    script = "head -c 8000001 /dev/urandom | tee f | sha256sum | cut -c -64"
    task = lab.run(pool, script, output_files=[output(url, "f", **{"x-ms-meta-key": "K"})])
    assert task.execution_info.result == "success"
    blob = target.get_blob_client("f")
    committed, _ = blob.get_block_list()
    assert [block.size for block in committed] == [3 << 20, 3 << 20, 8000001 - (6 << 20)]
    assert hashlib.sha256(blob.download_blob().readall()).hexdigest() == lab.output(task).strip()
    assert blob.get_blob_properties().metadata == {"key": "K"}


def test_outputs_are_uploaded_by_their_condition(lab: Lab, pool: str, blobs: Blobs) -> None:
    target = blobs.container()
    url = blobs.url(target, permission="w")
    files = [
        output(url, "f", path=f"{{}}/{on}", on=on)
        for on in ("tasksuccess", "taskfailure", "taskcompletion")
    ]
    for script in ("touch f", "touch f; exit 1"):
        for file in files:
            file.destination.container.path = (
                f"{script[-1]}/{file.upload_options.upload_condition.value}"
            )
        lab.run(pool, script, output_files=files)
    assert names(target) == [
        "1/taskcompletion",
        "1/taskfailure",
        "f/taskcompletion",
        "f/tasksuccess",
    ]


def test_the_path_is_a_folder_if_the_pattern_has_a_wildcard(
    lab: Lab, pool: str, blobs: Blobs
) -> None:
    target = blobs.container()
    url = blobs.url(target, permission="w")
    task = lab.run(
        pool,
        "mkdir -p d/e; touch d/a.mp3 d/e/b.mp3 c.txt",
        output_files=[
            output(url, "**/*.mp3", path="music"),
            output(url, "../std*.txt", path="logs", on="taskcompletion"),
            output(url, "*.none", path="none"),
        ],
    )
    assert task.execution_info.result == "success"
    assert names(target) == [
        "logs/stderr.txt",
        "logs/stdout.txt",
        "music/d/a.mp3",
        "music/d/e/b.mp3",
    ]


def test_a_missing_output_fails_the_task_but_its_log_is_uploaded(
    lab: Lab, pool: str, blobs: Blobs
) -> None:
    target = blobs.container()
    url = blobs.url(target, permission="w")
    again = m.BatchTaskConstraints(max_task_retry_count=2)
    files = [output(url, "none.mp3"), output(url, "../stdout.txt", on="taskcompletion")]
    info = lab.run(pool, "true", output_files=files, constraints=again).execution_info
    assert (info.exit_code, info.result, info.retry_count) == (0, "failure", 0)
    assert info.failure_info.code == "FileUploadMiscError"
    assert names(target) == ["stdout.txt"]


def test_a_denied_upload_fails_the_task(lab: Lab, pool: str, blobs: Blobs) -> None:
    url = blobs.url(blobs.container(), permission="r")
    task = lab.run(pool, "touch f", output_files=[output(url, "f")])
    assert task.execution_info.exit_code == 0
    failure = task.execution_info.failure_info
    assert (failure.code, failure.category) == ("FileUploadAccessDenied", "usererror")
    assert "sig=" not in str(failure.as_dict())
    log = json.loads(lab.output(task, "fileuploaderr.txt"))
    assert log.pop("file").endswith(f"/{task.id}/wd/f")
    assert log == {
        "code": "FileUploadAccessDenied",
        "user_error": True,
        "pattern": "f",
        "destination": url,  # with its signature, as in Azure
    }


def test_a_deleted_container_has_its_own_error_code(lab: Lab, pool: str, blobs: Blobs) -> None:
    container = blobs.container()
    url = blobs.url(container, permission="w")
    container.delete_container()
    info = lab.run(pool, "touch f", output_files=[output(url, "f")]).execution_info
    assert info.failure_info.code == "FileUploadContainerNotFound"


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_container_url_fails_the_task_but_not_the_node(lab: Lab, pool: str) -> None:
    info = lab.run(pool, "touch f", output_files=[output("http://x", "f")]).execution_info
    assert info.failure_info.code == "FileUploadMiscError"
    assert lab.run(pool).execution_info.result == "success"


@pytest.mark.parametrize(
    "script",
    [
        "rm -rf $AZ_BATCH_TASK_DIR",
        "mkdir ../fileuploadout.txt",
        "ln -s /dev/null ../fileuploaderr.txt",
    ],
)
def test_logs_that_cannot_be_written_fail_the_task_but_not_the_node(
    lab: Lab, pool: str, script: str
) -> None:
    url = f"{lab.url}/account/container?sv=none"
    info = lab.run(pool, script, output_files=[output(url, "*.mp3")]).execution_info
    assert (info.exit_code, info.failure_info.code) == (0, "FileUploadMiscError")
    assert info.failure_info.details[0].name == "Reason"
    assert [node.state for node in lab.client.list_nodes(pool)] == ["idle"]


def test_a_loop_of_links_fails_the_download_but_not_the_node(lab: Lab, pool: str) -> None:
    info = lab.run(
        pool,
        "ln -s loop loop; exit 1",
        resource_files=[resource(f"{lab.url}/none", "loop/input")],
        constraints=m.BatchTaskConstraints(max_task_retry_count=1),
    ).execution_info
    assert info.failure_info.code.startswith("Blob")
    assert [node.state for node in lab.client.list_nodes(pool)] == ["idle"]


def test_files_outside_the_node_are_not_uploaded(lab: Lab, pool: str, blobs: Blobs) -> None:
    target = blobs.container()
    url = blobs.url(target, permission="w")
    outside = (
        "../../../../../../../../../etc/passwd",
        "/etc/passwd",
        "root/etc/pass*",
        "**/passwd",
    )
    for pattern in ("link", "l*", *outside):
        script = "ln -s /etc/passwd link; ln -s / root"
        lab.run(pool, script, output_files=[output(url, pattern)])
    assert names(target) == []


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("rm ../stdout.txt; mkfifo ../stdout.txt; exit 1", "CommandLaunchFailed"),
        ("rm input; mkfifo input; exit 1", "BlobDownloadMiscError"),
        ("mkfifo ../fileuploadout.txt", "FileUploadMiscError"),
    ],
)
def test_a_pipe_that_a_task_leaves_fails_the_task_but_does_not_block_the_service(
    lab: Lab, pool: str, blobs: Blobs, script: str, code: str
) -> None:
    container = blobs.container()
    container.upload_blob("a.mp4", b"x")
    info = lab.run(
        pool,
        script,
        resource_files=[resource(blobs.url(container, permission="r", blob="a.mp4"))],
        output_files=[output(blobs.url(container, permission="w"), "*.mp3")],
        constraints=m.BatchTaskConstraints(max_task_retry_count=1),
    ).execution_info
    assert info.failure_info.code == code
    assert lab.run(pool).execution_info.result == "success"


@pytest.mark.parametrize(
    ("denied", "code"),
    [(("r", "none.mp4"), "BlobNotFound"), (("w", "there.mp4"), "BlobAccessDenied")],
)
def test_a_failed_download_is_reported_and_not_retried(
    lab: Lab, pool: str, blobs: Blobs, denied: tuple[str, str], code: str
) -> None:
    container = blobs.container()
    container.upload_blob("there.mp4", b"x")
    url = blobs.url(container, permission=denied[0], blob=denied[1])
    again = m.BatchTaskConstraints(max_task_retry_count=2)
    info = lab.run(pool, resource_files=[resource(url)], constraints=again).execution_info
    assert (info.exit_code, info.result, info.retry_count) == (None, "failure", 0)
    assert info.failure_info.code == code
    assert "sig=" not in str(info.failure_info.as_dict())


class Shaky(http.server.BaseHTTPRequestHandler):
    """Answers paths below /n with 503 n times, then serves or accepts a file."""

    def do_GET(self) -> None:
        self.answer(200)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)

    def answer(self, status: int) -> None:
        left = self.server.left  # type: ignore[attr-defined]
        left[self.path] = left.get(self.path, int(self.path.split("/")[1])) - 1
        self.send_response(status if left[self.path] < 0 else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between the tries of a transfer."""
    monkeypatch.setattr(transfers, "PAUSES_SECONDS", [0.01] * len(transfers.PAUSES_SECONDS))


@pytest.fixture
def shaky() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shaky) as server:
        server.left = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("impatient")
def test_a_download_is_retried_after_a_server_error(lab: Lab, pool: str, shaky: str) -> None:
    good = lab.run(pool, "cat input", resource_files=[resource(f"{shaky}/2")])
    assert lab.output(good) == "ok"
    bad = lab.run(pool, resource_files=[resource(f"{shaky}/9")])
    assert bad.execution_info.failure_info.code == "BlobDownloadMiscError"


@pytest.mark.usefixtures("impatient")
def test_an_upload_is_retried_after_a_server_error(lab: Lab, pool: str, shaky: str) -> None:
    good = lab.run(pool, "touch f", output_files=[output(f"{shaky}/2", "f")])
    assert good.execution_info.result == "success"
    bad = lab.run(pool, "touch f", output_files=[output(f"{shaky}/9", "f")])
    assert bad.execution_info.failure_info.code == "FileUploadMiscError"


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_server_fails_the_download(lab: Lab, pool: str) -> None:
    task = lab.run(pool, resource_files=[resource("http://127.0.0.1:9/a?sig=secret")])
    failure = task.execution_info.failure_info
    assert failure.code == "BlobDownloadMiscError"
    assert "secret" not in str(failure.as_dict())


def test_a_start_task_can_have_resource_files(lab: Lab, blobs: Blobs) -> None:
    container = blobs.container()
    container.upload_blob("setup.sh", b"echo set up")
    url = blobs.url(container, permission="r", blob="setup.sh")
    start = m.BatchStartTask(
        command_line="/bin/sh setup.sh", resource_files=[resource(url, "setup.sh")]
    )
    pool_id = lab.pool(start_task=start)
    (node,) = lab.client.list_nodes(pool_id)
    content = lab.client.download_node_file(pool_id, node.id, "startup/stdout.txt")
    assert b"".join(content) == b"set up\n"
