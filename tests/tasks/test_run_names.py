from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from prefect.utilities.names import generate_slug

from tasks.run_names import describe, format_due, is_made_up


def test_every_name_that_prefect_makes_up_is_recognised() -> None:
    assert all(is_made_up(generate_slug(2)) for _ in range(500))


@pytest.mark.parametrize(
    "name", ["nightly-talks", "talks", "Fine-Penguin", "fine-penguin-2", "fine penguin", ""]
)
def test_a_name_of_the_user_is_not_taken_for_one_that_prefect_made_up(name: str) -> None:
    assert not is_made_up(name)


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["~/Media"], "Media to mp3, flac"),
        (["/srv/media/talks", "b.mp4", "c.mp4"], "media/talks and 2 more to mp3, flac"),
        (["/talks"], "/talks to mp3, flac"),
        (["az://media/talks/2026"], "az://media/talks/2026 to mp3, flac"),
        ([], "nothing to mp3, flac"),
    ],
)
def test_a_run_is_named_after_its_sources_and_formats(sources: list[str], name: str) -> None:
    assert describe({"sources": sources, "output": {"presets": ["mp3", "flac"]}}) == name


def test_a_scheduled_run_is_named_after_its_time_in_the_zone_of_its_schedule() -> None:
    moment = datetime(2026, 11, 8, 1, 0, tzinfo=UTC)
    assert format_due(moment, ZoneInfo("Europe/Berlin")) == "8 Nov 02:00"
