"""Serve the deployments of a work pool from this process, which is a worker of its own.

python flows/serve.py POOL [--prefect-file FILE]
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import App, Parameter
from prefect import serve as serve_deployments
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.runner.storage import LocalStorage
from prefect.schedules import Schedule
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from flows.cli.command import keep_imports, main
from flows.cli.session import PREFECT_FILE, ROOT
from tasks.errors import UsageError


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class WorkPool(Strict):
    name: str


def _with_known_keys(trigger: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := trigger.keys() - DeploymentEventTrigger.model_fields.keys():
        raise ValueError(f"a trigger has no {', '.join(sorted(unknown))}")
    return trigger


class Deployment(Strict):
    """An entry of prefect.yaml: of the keys that Prefect knows, those that ours have."""

    name: str
    description: str
    tags: list[str]
    entrypoint: str  # path/from/the/root.py:flow
    work_pool: WorkPool
    parameters: dict[str, Any]
    schedules: list[Schedule] = []
    triggers: list[Annotated[DeploymentEventTrigger, BeforeValidator(_with_known_keys)]] = []

    def to_serve(self) -> RunnerDeployment:
        served = RunnerDeployment.from_flow(
            load_flow_from_entrypoint(self.entrypoint),
            name=self.name,
            description=self.description,
            tags=self.tags,
            parameters=self.parameters,
            schedules=self.schedules,
            triggers=list(self.triggers),
        )
        # Else one that `prefect deploy` knows already loses its way to the code.
        served.storage = LocalStorage(str(ROOT))
        return served


class PrefectFile(Strict):
    name: str
    deployments: list[Deployment]

    @property
    def pools(self) -> list[str]:
        return sorted({deployment.work_pool.name for deployment in self.deployments})

    def of_pool(self, pool: str) -> list[Deployment]:
        """The deployments for the workers of a pool.

        Raises:
            UsageError: there are none.
        """
        if pool not in self.pools:
            raise UsageError(f"No deployment is for {pool}.", f"Name {' or '.join(self.pools)}.")
        return [each for each in self.deployments if each.work_pool.name == pool]


def read_prefect_file(path: Path) -> PrefectFile:
    """All of a prefect.yaml. A key that we do not know is an error: Prefect would pass it over.

    Raises:
        UsageError: there is no such file, or it is not as it should be.
    """
    try:
        return PrefectFile.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Check its name.") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path} is not as it should be: {error}", "Mend it.") from error


app = App(
    name="serve.py",
    usage="Usage: python flows/serve.py POOL [--prefect-file FILE]",
    help="Serve the deployments of a work pool from this process, without a worker: those of"
    " deployments/prefect.yaml, on the Prefect server that is configured.",
    help_format="plaintext",
    version_flags=[],
)
app["--help"].show = False


@app.default
def serve(
    pool: Annotated[str, Parameter(help="The work pool that the deployments name.")],
    /,
    *,
    prefect_file: Annotated[
        Path, Parameter(metavar="FILE", show_default=False, help="Another file of deployments.")
    ] = PREFECT_FILE,
) -> None:
    deployments = read_prefect_file(prefect_file.absolute()).of_pool(pool)
    os.chdir(ROOT)  # where entrypoints begin, also for the processes of the runs
    served = [each.to_serve() for each in deployments]
    keep_imports()
    serve_deployments(*served)


if __name__ == "__main__":
    raise SystemExit(main(app))
