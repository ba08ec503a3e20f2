"""The automation of docs/prefect.md sends a notification, on a real Prefect server."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from tasks.results.events import FAILED, announce

PAGE = Path(__file__).parents[2] / "docs" / "prefect.md"
PATIENCE_SECONDS = 180
UNSET = "00000000-0000-0000-0000-000000000000"
Received = SimpleQueue[dict[str, Any]]


@flow(name="failing", persist_result=False)
async def failing() -> None:
    announce(FAILED, "az://output", {"headline": "1 failed", "files": ["a.mp4", "b's.mp4"]})


@contextmanager
def listening() -> Iterator[tuple[str, Received]]:
    """Run a webhook. Yields its address and a queue of what it receives."""
    received: Received = SimpleQueue()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


@pytest.mark.usefixtures("prefect_server")
async def test_the_automation_sends_a_notification_when_a_run_has_failures(
    tmp_path: Path,
) -> None:
    with listening() as (url, received):
        webhook = CustomWebhookNotificationBlock(
            name="test", url=url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        block_id = await webhook.save("test-webhook", overwrite=True)
        text = PAGE.read_text().partition("<!-- notify.yaml -->\n```yaml\n")[2].partition("```")[0]
        assert UNSET in text
        file = tmp_path / "notify.yaml"
        file.write_text(text.replace(UNSET, str(block_id)))
        create = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", file]
        await asyncio.to_thread(subprocess.run, create, check=True, timeout=PATIENCE_SECONDS)
        await failing()
        notification = received.get(timeout=PATIENCE_SECONDS)
    assert notification["subject"] == "az://output: 1 failed"
    name, *files, page = notification["body"].splitlines()
    assert name
    assert files == ["- a.mp4", "- b's.mp4"]
    assert "/runs/flow-run/" in page
