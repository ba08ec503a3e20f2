"""The automation of `flows/notify.py` sends a notification, on a real Prefect server."""

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
from prefect import flow, get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from tasks.results.events import FAILED, announce

NOTIFY = Path(__file__).parents[2] / "flows" / "notify.py"
AUTOMATION = "notify about files that are not converted"
PATIENCE_SECONDS = 180
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


async def notify(block: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, NOTIFY, block],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


@pytest.mark.usefixtures("prefect_server")
async def test_one_command_creates_the_automation_that_sends_one_notification_about_failures() -> (
    None
):
    with listening() as (url, received):
        webhook = CustomWebhookNotificationBlock(
            name="test", url=url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        await webhook.save("test-webhook", overwrite=True)
        for _ in range(2):  # the second one replaces the first one's automation
            created = await notify("custom-webhook/test-webhook")
            assert created.returncode == 0, created.stderr
        await failing()
        notification = received.get(timeout=PATIENCE_SECONDS)
    async with get_client() as client:
        assert len(await client.read_automations_by_name(AUTOMATION)) == 1
    assert notification["subject"] == "az://output: 1 failed"
    name, *files, page = notification["body"].splitlines()
    assert name
    assert files == ["- a.mp4", "- b's.mp4"]
    assert "/runs/flow-run/" in page


@pytest.mark.usefixtures("prefect_server")
async def test_a_block_that_does_not_exist_is_an_error_with_a_remedy() -> None:
    ended = await notify("slack-webhook/none")
    assert ended.returncode == 2
    assert "error: Prefect has no block 'slack-webhook/none'. Create a" in ended.stderr
