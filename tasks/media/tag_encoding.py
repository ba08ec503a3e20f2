"""Guesses the encoding of tags that are not UTF-8. WAV, AVI and ID3v1 do not declare it."""

import codecs
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# By Python's name: what people call it.
ENCODINGS = {
    "cp1252": "Windows-1252",
    "cp1251": "Windows-1251",
    "cp1250": "Windows-1250",
    "cp1253": "Windows-1253",
    "cp1254": "Windows-1254",
    "gb18030": "GBK",
    "big5hkscs": "Big5",
    "cp932": "Shift-JIS",
    "cp949": "EUC-KR",
}
# Measured on 800 tag sets of songs: with this confidence, 1 of 286 is wrong. All: 18 of 800.
_SURE = 0.2
_CONTROLS = bytes({*range(32), 127} - {ord("\n")})  # the detector takes them for binary data
_FIELD_BYTES = (28, 30)  # of ID3v1, which cuts longer values, also within a letter


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of the tags of one file.

    Attributes:
        name: Python's name. None: it is unknown.
        is_sure: Whether a wrong guess is unlikely.
    """

    name: str | None
    is_sure: bool

    def read(self, value: bytes) -> str:
        """Return the value as text. A letter that is cut off at its end is left out."""
        text = _decode(value, self.name) if self.name else None
        return value.decode(errors="replace") if text is None else text


def guess_encoding(values: Collection[bytes]) -> Encoding:
    """Return the encoding of values that are not valid UTF-8. They belong to one file."""
    if all(_is_cut_utf8(value) for value in values):
        return Encoding("utf-8", is_sure=True)
    if _is_japanese(values):
        return Encoding("cp932", is_sure=True)
    samples = list(dict.fromkeys(map(_without_half_letter, values)))
    return _detect(samples) or Encoding(None, is_sure=False)


def _decode(value: bytes, encoding: str) -> str | None:
    """Return the text without a letter that is cut off, or None if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(value)
    except UnicodeDecodeError:
        return None


def _without_half_letter(value: bytes) -> bytes:
    """Leave out the half of a letter at the end of an ID3v1 field, which the detector rejects."""
    text = _decode(value, "gb18030") if len(value) in _FIELD_BYTES else None
    # In all of the Chinese and Korean encodings, letters have the same lengths in most text.
    is_cut = text is not None and len(text.encode("gb18030")) < len(value)
    return value[:-1] if is_cut else value


def _is_cut_utf8(value: bytes) -> bool:
    text = _decode(value, "utf-8")
    # "Caf\xe9" in Windows-1252 looks like UTF-8 that is cut after "Caf".
    return text is not None and not text.isascii()


def _is_japanese(values: Collection[bytes]) -> bool:
    """Return whether most letters are kana if they are Shift-JIS.

    The detector misses short text in kana: few of its bytes are different.
    """
    texts = [_decode(value, "cp932") for value in values]
    letters = [letter for text in texts for letter in text or "" if not letter.isascii()]
    kana = sum("\u3040" <= letter <= "\u30ff" for letter in letters)
    return None not in texts and 0 < len(letters) <= 2 * kana


def _detect(values: Sequence[bytes]) -> Encoding | None:
    import chardet

    found = chardet.detect(
        b"\n".join(values).translate(None, _CONTROLS),
        compat_names=False,
        include_encodings=(*ENCODINGS, "ascii"),
        no_match_encoding="ascii",
    )
    name = found["encoding"]
    if name not in ENCODINGS or any(_decode(value, name) is None for value in values):
        return None
    return Encoding(name, is_sure=found["confidence"] >= _SURE)
