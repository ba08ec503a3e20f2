"""The name of a flow run in Prefect: the user's own, or what it converts and when it was due."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import PurePath
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from coolname.data import config
from prefect import get_client, runtime
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.media.addresses import AZURE
from tasks.parameters import Output

NAME_PARTS = 2  # of a path
# Prefect makes up names such as "fine-penguin", and does not say whether it did.
WORD_LISTS: Mapping[str, Any] = config
MADE_UP_WORDS = {word for each in WORD_LISTS.values() for word in each.get("words", ())}
MADE_UP_COUNT = 2


def run_name() -> str:
    """Return the name of the flow run that begins in this context."""
    name: str = runtime.flow_run.name
    if not is_made_up(name):  # a user chose it, or an earlier try of the same run
        return name
    context = FlowRunContext.get()
    due = due_time(context.flow_run) if context and context.flow_run else ""
    return " · ".join(filter(None, (describe(runtime.flow_run.parameters), due)))


def is_made_up(name: str) -> bool:
    words = name.split("-")
    return len(words) == MADE_UP_COUNT and MADE_UP_WORDS.issuperset(words)


def describe(parameters: Mapping[str, Any]) -> str:
    """Return what a run converts, and to which formats."""
    first, *others = parameters["sources"] or ["nothing"]
    more = f" and {len(others)} more" if others else ""
    presets = ", ".join(Output.model_validate(parameters["output"]).presets)
    return f"{short_source(first)}{more} to {presets}"


def short_source(source: str) -> str:
    """Return the end of a path, which tells it from others. Addresses stay whole."""
    if source.startswith(AZURE):
        return source
    parts = PurePath(source).parts
    return str(PurePath(*(parts[1:] if parts[:1] == ("~",) else parts)[-NAME_PARTS:]))


def due_time(run: FlowRun) -> str:
    """Return when a schedule started the run, such as "28 Nov 02:00". Empty: none did."""
    if not run.auto_scheduled or not run.expected_start_time:
        return ""
    return format_due(run.expected_start_time, schedule_zone(run))


def format_due(moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %H:%M}"


def schedule_zone(run: FlowRun) -> tzinfo:
    """Return the time zone of the schedule that started the run, or UTC if it is not known."""
    try:
        with get_client(sync_client=True) as client:  # Prefect asks for the name synchronously
            schedules = client.read_deployment(str(run.deployment_id)).schedules
    except (httpx.HTTPError, ObjectNotFound, PrefectHTTPStatusError):
        return UTC
    schedule_id = run.created_by.id if run.created_by else None
    found = next((each.schedule for each in schedules if each.id == schedule_id), None)
    name = getattr(found, "timezone", None)
    return ZoneInfo(name) if name else UTC
