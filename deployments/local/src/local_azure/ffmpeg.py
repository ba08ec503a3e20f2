"""The PATH of local nodes, on which there is always an ffmpeg."""

import os
import shutil
from pathlib import Path

from local_azure.errors import StackError

SYSTEM_FOLDERS = ("/usr/bin", "/bin")


def node_path(links: Path) -> str:
    """The machine's PATH; where it has no ffmpeg, `links`, which then holds one, comes first.

    Raises:
        StackError: There is no ffmpeg on this machine, nor a wheel that carries one.
    """
    folders = [folder for folder in os.get_exec_path() if Path(folder).is_absolute()]
    if shutil.which("ffmpeg", path=os.pathsep.join(folders)) is None:
        link_ffmpeg(links)
        folders.insert(0, str(links))
    folders += [folder for folder in SYSTEM_FOLDERS if folder not in folders]
    return os.pathsep.join(folders)


def link_ffmpeg(links: Path) -> None:
    """Put a link named `ffmpeg` into the folder `links`."""
    import imageio_ffmpeg

    try:
        binary = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        message = "There is no ffmpeg: install one, or `pip install imageio-ffmpeg`."
        raise StackError(message) from error
    links.mkdir(exist_ok=True)
    link = links / "ffmpeg"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(binary).absolute())
