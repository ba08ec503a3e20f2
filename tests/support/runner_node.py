"""Runs runner.sh as a node does: in the working folder of a batch task."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.media.copying import most_bit_rate
from tasks.media.preferred import preferred_arguments
from tasks.media.presets import PRESETS, Preset
from tasks.media.probe import probe
from tasks.media.source_arguments import source_arguments, tag_text
from tasks.media.streams import (
    picture_extent,
    sound_extents,
)
from tasks.media.tracks import with_main_track
from tasks.media.verification import Verified, read_marker
from tasks.models import Extent

RUNNER = Path(__file__).parents[2] / "tasks" / "media" / "runner.sh"
EX_DATAERR = 65
UNKNOWN = Extent(0, None)


@dataclass(frozen=True)
class RunnerResult:
    """The exit status, the messages and the folder of one run."""

    status: int
    stderr: str
    folder: Path

    @property
    def last_line(self) -> str:
        return self.stderr.splitlines()[-1]

    @property
    def verified(self) -> Verified:
        (marker,) = self.folder.glob("seconds-*")
        assert marker.stat().st_size == 0
        found = read_marker(marker.name)
        assert found
        return found

    @property
    def seconds(self) -> float:
        return self.verified.seconds


@dataclass(frozen=True)
class Node:
    """The working folder of a batch task, with the file `input`, and the PATH of the runner."""

    folder: Path
    path: str
    shell: tuple[str, ...] = ("/bin/sh",)

    def convert(self, preset: Preset = PRESETS["mp3"], **settings: str) -> RunnerResult:
        """Convert the input with what the probe finds in it. Settings replace the runner's."""
        media = with_main_track(probe(str(self.folder / "input")), preset.choices.languages)
        return self.run(
            *preset.arguments,
            *source_arguments(media, preset),
            output=f"output{preset.suffix}",
            sound="\n".join(map(str, sound_extents(media, preset))),
            picture=picture_extent(media, preset),
            **{
                "PREFERRED_ARGUMENTS": "\n".join(preferred_arguments(media, preset)),
                "MOST_BIT_RATE": str(most_bit_rate(preset) or ""),
                "TAGS": tag_text(media, preset),
                **settings,
            },
        )

    def run(
        self,
        *arguments: str,
        output: str = "output.mp3",
        sound: Extent | str | None = UNKNOWN,
        picture: Extent | str | None = None,
        **settings: str,
    ) -> RunnerResult:
        done = subprocess.run(
            [*self.shell, str(RUNNER)],
            cwd=self.folder,
            env=self.environment(
                arguments or PRESETS["mp3"].arguments,
                output=output,
                sound=sound,
                picture=picture,
                **settings,
            ),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=300,
        )
        return RunnerResult(done.returncode, done.stderr, self.folder)

    def environment(
        self,
        arguments: tuple[str, ...] = PRESETS["mp3"].arguments,
        *,
        output: str = "output.mp3",
        sound: Extent | str | None = UNKNOWN,
        picture: Extent | str | None = None,
        **settings: str,
    ) -> Mapping[str, str]:
        return {
            "PATH": self.path,
            "OUTPUT": output,
            "SOUND": str(sound or ""),
            "PICTURE": str(picture or ""),
            "FFMPEG_ARGUMENTS": "\n".join(arguments),
            **settings,
        }
