"""JSON, dates, durations, ETags, headers and pages in the format of Azure Batch."""

import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import odata
from local_azure.batch.error_codes import BatchError, invalid_property

JSON_TYPE = "application/json;odata=minimalmetadata"
LARGEST_PAGE = 1000
FOREVER = timedelta(days=10675199, hours=2, minutes=48, seconds=5, microseconds=477580)
"""Batch's value for "no limit": its longest duration."""
_DURATION = re.compile(
    r"P(?:(?P<days>\d{1,8})D)?"
    r"(?:T(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,10}(?:\.\d{1,9})?)S)?)?"
)
_tags = itertools.count(time.time_ns() // 100)

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")
View = Mapping[str, Callable[[Item], Any]]


def new_etag() -> str:
    return f"0x{next(_tags):X}"


def parse_duration(text: str) -> timedelta:
    """Parse an ISO 8601 duration of days, hours, minutes and seconds.

    Raises:
        ValueError: The text is not such a duration.
    """
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groupdict().values()):
        raise ValueError("must be an ISO 8601 duration such as PT30M")
    return timedelta(**{unit: float(n) for unit, n in found.groupdict().items() if n})


def format_duration(value: timedelta) -> str:
    if value >= FOREVER:
        return "P10675199DT2H48M5.4775807S"
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
    parts = [(hours, "H"), (minutes, "M"), (f"{seconds}{fraction}", "S")]
    clock = "".join(f"{n}{unit}" for n, unit in parts if n not in (0, "0"))
    days = f"{value.days}D" if value.days else ""
    return f"P{days}" + (f"T{clock}" if clock else "") if days or clock else "PT0S"


def format_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def format_http_time(value: datetime) -> str:
    return format_datetime(value.astimezone(UTC), usegmt=True)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return format_time(value)
        case timedelta():
            return format_duration(value)
        case BaseModel():
            return value.model_dump(by_alias=True, exclude_none=True)
    raise TypeError(type(value).__name__)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def parse_json(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig")
        document = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BatchError("InvalidRequestBody") from None
    if not isinstance(document, dict):
        raise BatchError("InvalidRequestBody", Reason="It must be a JSON object")
    return document


async def read(request: Request, model: type[Model]) -> Model:
    """Return the request's body as a model. An empty body counts as an empty object."""
    return parse(parse_json(await request.body() or b"{}"), model)


def parse(document: Mapping[str, Any], model: type[Model]) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise BatchError("MissingRequiredProperty", PropertyName=name) from None
        given = first["input"]
        shown = type(given).__name__ if isinstance(given, dict | list) else str(given)[:200]
        raise invalid_property(name, shown, first["msg"]) from None


def parameters(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.query_params.items()}


def headers(etag: str | None = None, modified: datetime | None = None) -> dict[str, str]:
    tags = {"ETag": etag} if etag else {}
    times = {"Last-Modified": format_http_time(modified)} if modified else {}
    return tags | times


def common_headers(request_id: str | None = None) -> dict[str, str]:
    identity = request_id or str(uuid.uuid4())
    return {"DataServiceVersion": "3.0", "request-id": identity, "Server": "local-batch"}


def answer(document: Mapping[str, Any], extra: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(document, default=_plain).encode()
    return Response(content, headers=dict(extra or {}), media_type=JSON_TYPE)


def failure(error: BatchError) -> Response:
    response = answer({"odata.metadata": "$metadata#error"} | error.body(), error.headers)
    response.status_code = error.status
    return response


def empty(
    status: int, *, etag: str | None = None, modified: datetime | None = None, location: str = ""
) -> Response:
    place = {"Location": location, "DataServiceId": location} if location else {}
    return Response(status_code=status, headers=headers(etag, modified) | place)


def select(item: Item, view: View[Item], names: Iterable[str]) -> dict[str, Any]:
    values = ((name, view[name](item)) for name in names)
    return {name: value for name, value in values if value is not None}


def selection(request: Request, view: View[Item]) -> list[str]:
    """Return the properties that `$select` names, or all properties of the view."""
    text = parameters(request).get("$select")
    if text is None:
        return list(view)
    names = [name.split("/")[0].strip() for name in text.split(",")]
    for name in names:
        if name not in view:
            raise query_error("$select", text, f"{name!r} is not a property here")
    return list(dict.fromkeys(names))


def one(request: Request, item: Item, view: View[Item]) -> Response:
    """Answer with one resource and its ETag, or with 304 if it has not changed."""
    etag, modified = view["eTag"](item), view["lastModified"](item)
    if not_modified(request, etag, modified):
        return empty(304, etag=etag, modified=modified)
    document = select(item, view, selection(request, view))
    return answer({"odata.metadata": "$metadata#element"} | document, headers(etag, modified))


def page(
    request: Request,
    items: Iterable[tuple[str, Item]],
    view: View[Item],
    *,
    filterable: Iterable[str] = (),
    after: Callable[[str, str], bool] = lambda mark, token: mark > token,
) -> Response:
    """Answer with one page of a listing. `items` are pairs of mark and item, sorted by mark."""
    query = parameters(request)
    size = page_size(query.get("maxresults"))
    names = selection(request, view)
    wanted = _matcher(query.get("$filter"), view, frozenset(filterable))
    token = query.get("$skiptoken")
    found: list[dict[str, Any]] = []
    last = ""
    document: dict[str, Any] = {"odata.metadata": "$metadata#collection", "value": found}
    for mark, item in items:
        if (token is not None and not after(mark, token)) or not wanted(item):
            continue
        if len(found) == size:
            document["odata.nextLink"] = _next_link(request, last)
            break
        found.append(select(item, view, names))
        last = mark
    return answer(document)


def _matcher(
    text: str | None, view: View[Item], filterable: frozenset[str]
) -> Callable[[Item], bool]:
    if text is None:
        return lambda _: True
    try:
        clause = odata.parse(text, filterable)
    except ValueError as error:
        raise query_error("$filter", text, str(error)) from None
    return lambda item: clause(lambda name: view[name](item))


def page_size(text: str | None) -> int:
    if text is None:
        return LARGEST_PAGE
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_PAGE:
        raise query_error("maxresults", text, f"It must be between 1 and {LARGEST_PAGE}")
    return int(text)


def _next_link(request: Request, token: str) -> str:
    kept = {n: v for n, v in request.query_params.items() if n.lower() != "$skiptoken"}
    path = request.scope["raw_path"].decode("latin-1")
    return f"{base(request)}{path}?{urlencode(kept | {'$skiptoken': token})}"


def base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}"


def query_error(name: str, value: str, reason: str) -> BatchError:
    return BatchError(
        "InvalidQueryParameterValue",
        QueryParameterName=name,
        QueryParameterValue=value[:200],
        Reason=reason,
    )


def _tags_of(text: str) -> set[str]:
    return {tag.strip().removeprefix("W/").strip("\"'") for tag in text.split(",")}


def _moment(request: Request, name: str) -> datetime | None:
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        raise BatchError("InvalidHeaderValue", HeaderName=name, HeaderValue=text) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_conditions(request: Request, etag: str, modified: datetime) -> None:
    """Refuse a change of another version than the present one.

    Raises:
        BatchError: ConditionNotMet.
    """
    match = request.headers.get("if-match")
    none_match = request.headers.get("if-none-match")
    since, unless_since = (
        _moment(request, "if-modified-since"),
        _moment(request, "if-unmodified-since"),
    )
    second = modified.replace(microsecond=0)
    if (
        (match is not None and not _tags_of(match) & {etag, "*"})
        or (none_match is not None and _tags_of(none_match) & {etag, "*"})
        or (since is not None and second <= since)
        or (unless_since is not None and second > unless_since)
    ):
        raise BatchError("ConditionNotMet")


def not_modified(request: Request, etag: str, modified: datetime) -> bool:
    """Return whether the answer to a read is 304.

    Raises:
        BatchError: ConditionNotMet, as for a change.
    """
    none_match = request.headers.get("if-none-match")
    if none_match is not None and _tags_of(none_match) & {etag, "*"}:
        return True
    since = _moment(request, "if-modified-since")
    if none_match is None and since is not None and modified.replace(microsecond=0) <= since:
        return True
    match = request.headers.get("if-match")
    unless_since = _moment(request, "if-unmodified-since")
    if (match is not None and not _tags_of(match) & {etag, "*"}) or (
        unless_since is not None and modified.replace(microsecond=0) > unless_since
    ):
        raise BatchError("ConditionNotMet")
    return False
