"""The event that a run emits, as Prefect's server passes it to automations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heard import listening_for
from tasks.errors import UsageError
from tasks.parameters import Run

Library = Callable[..., Path]
Convert = Callable[..., Any]


async def test_each_run_emits_one_event_about_its_output_that_names_the_flow_run(
    convert: Convert, library: Library, containers: tuple[str, str], tmp_path: Path
) -> None:
    place = f"az://{containers[0]}"
    async with listening_for("batch-convert.", about=place) as next_event:
        folder = library("good.mp4")
        await convert(folder, run=Run(dry_run=True))
        await convert(folder)
        event = await next_event()
        assert event.event == "batch-convert.run.converted"
        assert event.payload["headline"] == "1 converted"
        roles = {resource.role for resource in event.related}
        assert {"flow-run", "flow"} <= roles
        (folder / "text.mp4").write_text("not a film")
        await convert(folder)
        event = await next_event()
        assert event.event == "batch-convert.run.failed"
        assert event.payload["headline"] == "1 skipped, 1 failed"
        assert event.payload["summary"]["failed"] == 1
        assert event.payload["files"] == ["text.mp4"]
        with pytest.raises(UsageError):
            await convert(tmp_path / "absent")
        event = await next_event()
        assert event.event == "batch-convert.run.failed"
        assert "absent" in event.payload["headline"]
