"""The keys of artifacts. Prefect keeps a history for each key."""

from typing import Literal
from uuid import UUID

from prefect import get_client, runtime
from slugify import slugify

from tasks.parameters import Output

Kind = Literal["progress", "files", "report"]


async def artifact_key(kind: Kind) -> str:
    """Return the key for the flow run of this context."""
    output = Output.model_validate(runtime.flow_run.parameters.get("output", {}))
    return make_key(kind, output, deployment=await read_deployment_name())


async def read_deployment_name() -> str:
    """Return the name of the run's deployment. Empty: it has none."""
    if not (deployment_id := runtime.deployment.id):
        return ""
    async with get_client() as client:
        return (await client.read_deployment(UUID(deployment_id))).name


def make_key(kind: Kind, output: Output, *, deployment: str) -> str:
    """Return a key that the runs of a deployment, or those into one output, have in common.

    Runs with another prefix or other presets have another history.
    """
    place = deployment.removeprefix("convert-") or output.container
    return slugify(" ".join(("convert", place, output.prefix, *output.presets, kind)))
