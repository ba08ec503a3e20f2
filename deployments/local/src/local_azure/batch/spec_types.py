"""The base and the value types of request bodies."""

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)
from pydantic.alias_generators import to_camel

from local_azure.batch.error_codes import not_supported
from local_azure.batch.wire import parse_duration


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _number(value: object) -> object:
    """Read a whole number in a text, as Azure's OData reader does (`ConvertStringValue`)."""
    is_number = isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,10}\s*", value, re.ASCII)
    return int(str(value)) if is_number else value


def _boolean(value: object) -> object:
    """Read `true` or `false` in a text, in any case, as Azure's OData reader does."""
    text = value.strip().lower() if isinstance(value, str) else ""
    return text == "true" if text in ("true", "false") else value


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _refuse(value: object, info: ValidationInfo) -> None:
    if _boolean(value) not in (None, False, [], {}):
        raise not_supported(f"the property {_alias(info.field_name or '')!r}")


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in path:
        raise ValueError("must be a relative path without '..'")
    return path


def _without_null(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a null character")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.port == 0:
        raise ValueError("must name a host")
    return text


Item = TypeVar("Item")
Several = Annotated[tuple[Item, ...], Field(strict=False)]
Number = Annotated[int, BeforeValidator(_number)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Text = Annotated[str, AfterValidator(_without_null)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\x00]+$"), AfterValidator(_url)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
ResizeTimeout = Annotated[Duration, Field(ge=timedelta(minutes=5))]
ScaleInterval = Annotated[Duration, Field(ge=timedelta(minutes=5), le=timedelta(days=7))]
WallClock = Annotated[Duration, Field(gt=timedelta())]
RelativePath = Annotated[str, AfterValidator(_inside)]
Refused = Annotated[None, BeforeValidator(_refuse)]
Retries = Annotated[Number, Field(ge=-1)]
Count = Annotated[Number, Field(ge=0, le=10_000)]
AllTasksComplete = Annotated[Literal["noaction", "terminatejob"], BeforeValidator(lower)]
TaskFailure = Annotated[Literal["noaction", "performexitoptionsjobaction"], BeforeValidator(lower)]
Deallocation = Annotated[
    Literal["requeue", "terminate", "taskcompletion", "retaineddata"], BeforeValidator(lower)
]


def _alias(name: str) -> str:
    return to_camel(name).replace("SkuId", "SKUId")


class Spec(BaseModel):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(alias=_alias), frozen=True, extra="ignore", strict=True
    )

    def wire(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_none=True)
