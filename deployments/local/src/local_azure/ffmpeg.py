"""The PATH of local nodes, which always has an ffmpeg."""

import os
import shutil
from pathlib import Path

from local_azure.errors import StackError

SYSTEM_FOLDERS = ("/usr/bin", "/bin")


def node_path(links: Path) -> str:
    """Return the machine's PATH. If it has no ffmpeg, link one into `links` and put that first.

    Raises:
        StackError: Neither this machine nor the imageio-ffmpeg wheel has an ffmpeg.
    """
    folders = [folder for folder in os.get_exec_path() if Path(folder).is_absolute()]
    if shutil.which("ffmpeg", path=os.pathsep.join(folders)) is None:
        link_ffmpeg(links)
        folders.insert(0, str(links))
    folders += [folder for folder in SYSTEM_FOLDERS if folder not in folders]
    return os.pathsep.join(folders)


def link_ffmpeg(links: Path) -> None:
    """Link the ffmpeg of the imageio-ffmpeg wheel into the folder `links`."""
    import imageio_ffmpeg

    try:
        binary = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise StackError(
            "ffmpeg was not found.", "Install it, or run `pip install imageio-ffmpeg`."
        ) from error
    links.mkdir(exist_ok=True)
    link = links / "ffmpeg"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(binary).absolute())
