"""Limits on sources that the probe and the nodes open. runner.sh repeats all but MOST_CHANNELS."""

# Container formats that may be opened. Playlists (hls, dash, concat) are excluded: they open other
# files.
FORMATS = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "flv"),
    *("matroska", "mov", "mp3", "mpeg", "mpegts", "mxf", "ogg", "tta", "w64", "wav", "wv"),
)
# Sources above these limits are damaged, or made to fill memory and disks.
MOST_PIXELS = 1 << 27  # per picture: 16K video
MOST_CHANNELS = 64  # that ffmpeg can mix
MOST_SECONDS = 7 * 24 * 60 * 60
