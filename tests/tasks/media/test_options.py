"""Runs a real ffmpeg with filters that users may add: it opens no file except input and output.

CI tries eight values per option. To try more: OPTION_VALUES=200 .venv/bin/pytest -n0 <this file>
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.media.ffmpeg_options import ALLOWED_OPTIONS
from tasks.media.presets import preset_for

VALUES = int(os.environ.get("OPTION_VALUES", "8"))
RUNNER = Path(__file__).parents[3] / "tasks" / "media" / "runner.sh"
OWN = {"input", "output.webm", "progress", "messages"}


@pytest.mark.parametrize("option", ["-af", "-vf"])
def test_an_allowed_filter_opens_and_creates_no_other_file(
    clip: Callable[..., Path], ffmpeg_folder: Path, tools_folder: Path, option: str
) -> None:
    """Each word of the value is the name of a FIFO in the folder: opening one would block."""
    source = clip(".mp4", audio=0.2, video=0.2)

    @settings(max_examples=VALUES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(re.compile(ALLOWED_OPTIONS[option].pattern, re.ASCII), fullmatch=True))
    def convert(value: str) -> None:
        words = set(re.findall(r"[A-Za-z][A-Za-z0-9_]*", value)) - OWN
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copyfile(source, folder / "input")
            for word in words:
                os.mkfifo(folder / word)
            environment = {
                "PATH": f"{ffmpeg_folder}:{tools_folder}",
                "OUTPUT": "output.webm",
                "FFMPEG_ARGUMENTS": "\n".join(preset_for("webm", [option, value]).arguments),
            }
            subprocess.run(
                ["/bin/sh", str(RUNNER)],
                cwd=folder,
                env=environment,
                capture_output=True,
                check=False,
                timeout=120,
            )
            left = {path.name for path in folder.iterdir() if not path.name.startswith("seconds-")}
            assert left <= OWN | words

    convert()
