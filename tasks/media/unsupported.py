"""Media formats that are recognised, to name them in a reason, but not opened."""

MAGIC_BYTES = 64
_ID3_HEADER_BYTES = 10
_SOUND, _FILM = "convert it to WAV or FLAC first", "convert it to MP4 or MKV first"
_LIST = "name the files that it refers to"
# By the position of the first bytes: those bytes, the format, and what the user can do.
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"DSD ", "DSD", _SOUND),
    (0, b"FRM8", "DSD", _SOUND),
    (0, b"MPCK", "Musepack", _SOUND),
    (0, b"MP+", "Musepack", _SOUND),
    (0, b"tBaK", "TAK", _SOUND),
    (0, b"ajkg", "Shorten", _SOUND),
    (0, b"TWIN97012000", "TwinVQ", _SOUND),
    (0, b"OFR ", "OptimFROG", _SOUND),
    (0, b"LA0", "Lossless Audio", _SOUND),
    (0, b".ra\xfd", "RealAudio", _SOUND),
    (0, b"ea3\3", "ATRAC", _SOUND),
    (0, b"EA3\1", "ATRAC", _SOUND),
    (0, b"MThd", "MIDI", _SOUND),
    (8, b"RMIDdata", "MIDI", _SOUND),
    (8, b"QLCMfmt ", "QCP", _SOUND),
    (8, b"XWMAfmt ", "xWMA", _SOUND),
    (8, b"8SVX", "8SVX", _SOUND),
    (0, b"\2dss", "DSS dictation", _SOUND),
    (0, b"\3ds2", "DSS dictation", _SOUND),
    (0, b"NIST_1A", "NIST SPHERE", _SOUND),
    (0, b"Creative Voice File", "Creative Voice", _SOUND),
    (0, b".SoX", "SoX", _SOUND),
    (0, b"XoS.", "SoX", _SOUND),
    (0, b"qoaf", "QOA", _SOUND),
    (4, b"\xf8\x72\x6f\xba", "Dolby TrueHD", _SOUND),
    (4, b"\xf8\x72\x6f\xbb", "MLP", _SOUND),
    (4, b"\x57\x90\x75\x36", "Audible", _SOUND),
    (0, b".RMF", "RealMedia", _FILM),
    (0, b"SMK2", "Smacker", _FILM),
    (0, b"SMK4", "Smacker", _FILM),
    (0, b"BIK", "Bink", _FILM),
    (0, b"KB2", "Bink", _FILM),
    (0, b"nut/multimedia container\0", "NUT", _FILM),
    (0, b"DKIF", "IVF", _FILM),
    (0, b"YUV4MPEG2 ", "YUV4MPEG", _FILM),
    (0, b"NSVf", "NSV", _FILM),
    (0, b"NSVs", "NSV", _FILM),
    (0, b"FWS", "Flash", _FILM),
    (0, b"CWS", "Flash", _FILM),
    (0, b"\0\0\0\0\1\xbc", "GXF", _FILM),
    (0, b"\x1f\7\0", "DV", _FILM),
    (0, b"\0\0\1\xb3", "MPEG video without a container", _FILM),
    (0, bytes.fromhex("b7d800203749da11a64e0007e95ead8d"), "WTV", _FILM),
    (0, b"#EXTM3U", "playlist", _LIST),
    (0, b"[playlist]", "playlist", _LIST),
    (0, b"[Reference]", "playlist", _LIST),
    (0, b"ffconcat version", "playlist", _LIST),
)
# Files in a folder are chosen by their suffixes. These would not be converted.
SUFFIXES = frozenset(
    (
        *(".aa", ".aax", ".dff", ".ds2", ".dsf", ".dss", ".dv", ".ivf", ".m3u", ".m3u8"),
        *(".mid", ".midi", ".mlp", ".mp+", ".mpc", ".mpp", ".ofr", ".oma", ".ra", ".rm", ".rmvb"),
        *(".shn", ".sph", ".tak", ".thd", ".voc", ".vqf", ".wtv"),
    )
)


def unsupported_format(head: bytes) -> str | None:
    """Return the reason if the first MAGIC_BYTES of a file are those of a known format."""
    for at, magic, name, remedy in _MAGIC:
        if head[at:].startswith(magic):
            return f"this format is not supported ({name}): {remedy}"
    return None


def id3_bytes(head: bytes) -> int:
    """Return the size of the ID3v2 tag before the format's own first bytes. 0: there is none."""
    if len(head) < _ID3_HEADER_BYTES or not head.startswith(b"ID3"):
        return 0
    size = 0
    for byte in head[6:_ID3_HEADER_BYTES]:  # each has seven bits
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER_BYTES + size
