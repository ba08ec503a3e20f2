"""The types of parameters: what a value may be, and how `--help` shows it."""

import re
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import AfterValidator, BeforeValidator, Field

from tasks.media.languages import primary_language
from tasks.media.presets import PresetName


def matching(pattern: str, rule: str) -> tuple[AfterValidator, Any]:
    """Require text of this pattern, in Prefect's form too. The error says `rule`."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"{text!r} is not {rule}")

    return AfterValidator(check), Field(json_schema_extra={"pattern": pattern})


ContainerName = Annotated[
    str,
    Field(min_length=3, max_length=63),
    *matching(
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        "a valid container name: use lower-case letters and digits, with single hyphens between"
        " them",
    ),
]
BlockName = Annotated[
    str,
    Field(max_length=255),
    *matching(r"^[a-z0-9-]*$", "a valid block name: use lower-case letters, digits and hyphens"),
    Parameter(metavar="NAME", show_default=False),
]


def _split_words(words: Any) -> Any:
    if isinstance(words, list | tuple) and all(isinstance(word, str) for word in words):
        return [part for word in words for part in word.split()]
    return words


def _as_list(words: Any) -> Any:
    return [words] if isinstance(words, str) else words


def _without_repeats(presets: list[PresetName]) -> list[PresetName]:
    for preset in presets:
        if presets.count(preset) > 1:
            raise ValueError(f"preset {preset!r} is named twice")
    return presets


def _check_language(tag: str) -> str:
    if primary_language(tag):
        return tag
    raise ValueError(f"{tag!r} is not the code of a language: use one such as eng, de or pt-BR")


def without_dots(path: str) -> str:
    if {".", ".."}.intersection(path.split("/")):
        raise ValueError(f"{path!r} is not a valid folder in a container: leave out '.' and '..'")
    return path


# The command repeats --preset for several presets. Python also accepts one preset as plain text.
Presets = Annotated[
    list[PresetName],
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    Parameter(name="--preset", show_default=", ".join),
]
Languages = Annotated[
    list[Annotated[str, AfterValidator(_check_language)]],
    BeforeValidator(_as_list),
    Field(json_schema_extra={"uniqueItems": True}),
    Parameter(name="--language", metavar="CODE", show_default=False),
]
# On the command line, all options are one shell word, which begins with a dash.
Options = Annotated[
    list[str],
    BeforeValidator(_split_words),
    Parameter(allow_leading_hyphen=True, metavar="WORDS", show_default=False),
]
Folder = Annotated[str, Parameter(metavar="DIR", show_default=False)]
File = Annotated[str, Parameter(metavar="FILE", show_default=False)]
Name = Annotated[str, Parameter(metavar="NAME", show_default=False)]
Switch = Annotated[bool, Parameter(show_default=False)]
Keep = Literal["delete", "keep"]
Nodes = Annotated[int, Field(ge=0, le=1000)]
Minutes = Annotated[int, Field(ge=0, le=24 * 60)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
