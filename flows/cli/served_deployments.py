"""The deployments of prefect.yaml, served from this process without a worker."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import App, Parameter
from prefect import serve as serve_deployments
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.runner.storage import LocalStorage
from prefect.schedules import Schedule
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from flows.cli.garbage import keep_imports
from flows.cli.kept_schedules import keep_schedules
from flows.cli.messages import say
from flows.cli.session import PREFECT_FILE, ROOT
from tasks.errors import UsageError


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class WorkPool(Strict):
    name: str
    job_variables: dict[str, Any] = {}  # for workers: a served run has this process's environment


class ConcurrencyLimit(Strict):
    limit: int
    collision_strategy: ConcurrencyLimitStrategy

    def to_prefect(self) -> ConcurrencyLimitConfig:
        return ConcurrencyLimitConfig(**dict(self))


def _with_known_keys(trigger: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := trigger.keys() - DeploymentEventTrigger.model_fields.keys():
        raise ValueError(f"a trigger cannot have {', '.join(sorted(unknown))}")
    return trigger


def _with_slug(schedule: Schedule) -> Schedule:
    if not schedule.slug:
        raise ValueError("a schedule requires a slug: it identifies the schedule on the server")
    return schedule


class Deployment(Strict):
    """An entry of prefect.yaml, with the keys that our entries use."""

    name: str
    description: str
    tags: list[str]
    version: str | None = None
    entrypoint: str  # path/from/the/root.py:flow
    work_pool: WorkPool
    concurrency_limit: ConcurrencyLimit | None = None
    parameters: dict[str, Any]
    schedules: list[Annotated[Schedule, AfterValidator(_with_slug)]] = []
    triggers: list[Annotated[DeploymentEventTrigger, BeforeValidator(_with_known_keys)]] = []

    def to_serve(self) -> RunnerDeployment:
        served = RunnerDeployment.from_flow(
            load_flow_from_entrypoint(self.entrypoint),
            name=self.name,
            description=self.description,
            tags=self.tags,
            version=self.version,
            concurrency_limit=self.concurrency_limit.to_prefect()
            if self.concurrency_limit
            else None,
            parameters=self.parameters,
            schedules=self.schedules,
            triggers=list(self.triggers),
        )
        # Without it, a deployment that `prefect deploy` made loses the path to its code.
        served.storage = LocalStorage(str(ROOT))
        return served


class PrefectFile(Strict):
    name: str
    definitions: dict[str, Any] = {}  # of YAML anchors
    deployments: list[Deployment]

    @property
    def pools(self) -> list[str]:
        return sorted({deployment.work_pool.name for deployment in self.deployments})

    def for_pool(self, pool: str) -> list[Deployment]:
        """Return the deployments of a work pool.

        Raises:
            UsageError: There are none.
        """
        if pool not in self.pools:
            raise UsageError(
                f"No deployment uses the work pool {pool}.", f"Use {' or '.join(self.pools)}."
            )
        return [each for each in self.deployments if each.work_pool.name == pool]


def read_prefect_file(path: Path) -> PrefectFile:
    """Read a prefect.yaml. An unknown key is an error: Prefect would ignore it.

    Raises:
        UsageError: The file cannot be read, or has mistakes.
    """
    try:
        return PrefectFile.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Check its name.") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path} has mistakes: {error}", "Correct them.") from error


app = App(
    name="serve.py",
    usage="Usage: python flows/serve.py POOL [--prefect-file FILE]",
    help="Serve the deployments of a work pool from this process, without a worker: those in"
    " deployments/prefect.yaml, on the configured Prefect server.",
    help_format="plaintext",
    version_flags=[],
)
app["--help"].show = False


@app.default
def serve(
    pool: Annotated[str, Parameter(help="The work pool whose deployments to serve.")],
    /,
    *,
    prefect_file: Annotated[
        Path, Parameter(metavar="FILE", show_default=False, help="Another prefect.yaml.")
    ] = PREFECT_FILE,
) -> None:
    deployments = read_prefect_file(prefect_file.absolute()).for_pool(pool)
    os.chdir(ROOT)  # entrypoints are relative to it, also in the processes of the runs
    served = [each.to_serve() for each in deployments]
    for each in served:
        keep_schedules(each)
    for each in filter(lambda each: each.paused, served):
        say(f"{each.full_name} is paused: its schedules do not run. Resume it in Prefect's UI.")
    keep_imports()
    serve_deployments(*served, pause_on_shutdown=False)
