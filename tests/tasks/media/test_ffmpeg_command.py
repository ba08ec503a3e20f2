import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import RUNNER, Node

from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.media.presets import PRESETS, Preset, preset_for

Run = Callable[..., list[str]]


@pytest.fixture
def run_words(tmp_path: Path, tools_folder: Path) -> Run:
    """A function that runs runner.sh, and returns the words of its first ffmpeg command."""
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\0" ffmpeg "$@"\nexit 1\n')
    fake.chmod(0o755)
    (tmp_path / "input").touch()

    def run(preset: Preset) -> list[str]:
        node = Node(tmp_path, f"{fake.parent}:{tools_folder}")
        done = subprocess.run(
            ["/bin/sh", str(RUNNER)],
            cwd=tmp_path,
            env=node.environment(preset.arguments, output=f"output{preset.suffix}"),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split("\0")[:-1]

    return run


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_words_shown_are_the_words_run_without_the_list_of_what_is_decoded(
    run_words: Run, preset: Preset
) -> None:
    shown = ffmpeg_words(preset)
    assert run_words(preset)[: len(shown)] == shown
    assert "framecrc" in run_words(preset)[len(shown) :]


def test_the_words_contain_the_users_options(run_words: Run) -> None:
    preset = preset_for("mp3", ["-b:a", "256k", "-af", "loudnorm=I=-16,volume=-3dB"])
    shown = ffmpeg_words(preset)
    assert run_words(preset)[: len(shown)] == shown
