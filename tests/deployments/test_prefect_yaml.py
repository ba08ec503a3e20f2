"""The deployments of prefect.yaml, without a server. Finds mistakes that Prefect would ignore."""

import re
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.server.schemas.schedules import CronSchedule
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError

from flows.cli.served_deployments import (
    PREFECT_FILE,
    ROOT,
    Deployment,
    PrefectFile,
    read_prefect_file,
)
from tasks.errors import UsageError

DEPLOYMENTS = {each.name: each for each in read_prefect_file(PREFECT_FILE).deployments}
every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder where `prefect deploy` runs."""
    monkeypatch.chdir(ROOT)


def flow_of(deployment: Deployment) -> Flow[..., Any]:
    return load_flow_from_entrypoint(deployment.entrypoint)


def test_the_deployments_have_the_documented_names() -> None:
    assert set(DEPLOYMENTS) == {
        "convert-local",
        "convert-azure",
        "convert-arrivals-azure",
        "sweep-azure",
    }


@every_deployment
def test_a_deployment_has_the_version_of_the_project(deployment: Deployment) -> None:
    assert deployment.version == version("batch-convert")


def test_job_variables_are_the_environment_and_contain_no_keys() -> None:
    for deployment in DEPLOYMENTS.values():
        variables = deployment.work_pool.job_variables
        assert variables.keys() <= {"env"}
        assert not {name for name in variables.get("env", {}) if "KEY" in name}


def test_arrivals_are_converted_every_ten_minutes_as_the_nightly_run_would_once_it_is_resumed() -> (
    None
):
    arrivals, azure = DEPLOYMENTS["convert-arrivals-azure"], DEPLOYMENTS["convert-azure"]
    (schedule,) = arrivals.schedules
    assert (schedule.cron, schedule.active) == ("*/10 * * * *", False)
    nightly = next(each for each in azure.schedules if each.slug == "nightly-mp3")
    assert arrivals.parameters == azure.parameters | nightly.parameters


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("deployments", 0),
        ("deployments", 0, "work_pool"),
        ("deployments", 0, "schedules", 0),
        ("deployments", 1, "triggers", 0),
        ("deployments", 2, "concurrency_limit"),
    ],
)
def test_a_key_that_prefect_would_ignore_is_rejected(place: tuple[Any, ...]) -> None:
    content = entry = yaml.safe_load(PREFECT_FILE.read_text())
    for step in place:
        entry = entry[step]
    entry["scheduels"] = []
    with pytest.raises(ValidationError, match="scheduels"):
        PrefectFile.model_validate(content)


def test_a_schedule_without_a_slug_is_rejected() -> None:
    content = yaml.safe_load(PREFECT_FILE.read_text())
    del content["deployments"][0]["schedules"][0]["slug"]
    with pytest.raises(ValidationError, match="a schedule requires a slug"):
        PrefectFile.model_validate(content)


@every_deployment
def test_an_entrypoint_is_a_flow(deployment: Deployment) -> None:
    assert deployment.name.startswith(flow_of(deployment).name)


@every_deployment
def test_the_flow_accepts_the_parameters_of_each_schedule(
    deployment: Deployment,
) -> None:
    flow = flow_of(deployment)
    schema = flow.parameters.model_dump_for_openapi()
    for schedule in deployment.schedules:
        merged = deployment.parameters | schedule.parameters  # like the server
        validate(merged, schema, preprocess=True)
        assert flow.validate_parameters(merged)


@pytest.mark.parametrize("parameters", [{"output": {"preset": "mp3"}}, {"sourcse": []}])
def test_parameters_that_the_flow_does_not_have_are_rejected(parameters: dict[str, Any]) -> None:
    flow = flow_of(DEPLOYMENTS["convert-azure"])
    with pytest.raises((ParameterTypeError, SignatureMismatchError)):
        flow.validate_parameters(DEPLOYMENTS["convert-azure"].parameters | parameters)


@every_deployment
async def test_a_schedule_has_a_unique_name_a_time_zone_and_a_next_time(
    deployment: Deployment,
) -> None:
    slugs = [schedule.slug for schedule in deployment.schedules]
    assert len(set(slugs)) == len(slugs) > 0
    for schedule in deployment.schedules:
        assert schedule.slug
        assert re.fullmatch("[a-z0-9-]+", schedule.slug)
        assert schedule.timezone
        assert schedule.cron
        cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        (first,) = await cron.get_dates(1)
        assert str(first.tzinfo) == schedule.timezone


def test_a_schedule_that_sets_a_group_repeats_the_other_fields_of_the_deployment() -> None:
    for deployment in DEPLOYMENTS.values():
        for schedule in deployment.schedules:
            for name in schedule.parameters.keys() & deployment.parameters.keys():
                assert deployment.parameters[name].keys() <= schedule.parameters[name].keys()


def test_mp3_is_scheduled_nightly_and_flac_weekly() -> None:
    for name in ("convert-local", "convert-azure"):
        presets = {s.slug: s.parameters["output"]["presets"] for s in DEPLOYMENTS[name].schedules}
        assert presets == {"nightly-mp3": ["mp3"], "weekly-flac": ["flac"]}


def test_scheduled_runs_tolerate_failures_of_earlier_runs() -> None:
    for name in ("convert-local", "convert-azure"):
        for schedule in DEPLOYMENTS[name].schedules:
            merged = DEPLOYMENTS[name].parameters | schedule.parameters
            assert merged["run"] == {"known_failures": "warn"}


def test_the_sweep_deletes_and_the_work_pool_names_the_account() -> None:
    assert DEPLOYMENTS["sweep-azure"].parameters == {"dry_run": False}
    for deployment in DEPLOYMENTS.values():
        assert deployment.name.endswith(f"-{deployment.work_pool.name}")
        assert deployment.work_pool.name in deployment.tags


def test_arrived_media_is_converted_into_the_folder_of_the_nightly_run() -> None:
    deployment = DEPLOYMENTS["convert-azure"]
    (trigger,) = deployment.triggers
    assert trigger.parameters
    event = {"resource": {"container": "media", "prefix": "talks/it's 2026"}}
    rendered = render(trigger.parameters, {"event": event})
    assert rendered["sources"] == ["az://media/talks/it's 2026/"]
    assert rendered["output"] == {"presets": ["mp3"], "prefix": "talks/it's 2026"}
    assert flow_of(deployment).validate_parameters(deployment.parameters | rendered)


def test_a_run_for_arrived_media_can_wait_for_a_nightly_run_and_then_has_as_much_time() -> None:
    deployment = DEPLOYMENTS["convert-azure"]
    (trigger,) = deployment.triggers
    assert trigger.parameters
    nightly, arrived = (p["limits"] for p in (deployment.parameters, trigger.parameters))
    assert arrived["lock_wait_seconds"] >= nightly["deadline_minutes"] * 60
    assert arrived["deadline_minutes"] >= 2 * nightly["deadline_minutes"]


def render(value: Any, context: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: render(each, context) for name, each in value.items()}
    if isinstance(value, list):
        return [render(each, context) for each in value]
    return render_user_template_sync(value, context) if isinstance(value, str) else value


def test_a_work_pool_without_deployments_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(
        UsageError, match=r"No deployment uses the work pool aws\. Use azure or local\."
    ):
        read_prefect_file(PREFECT_FILE).for_pool("aws")
