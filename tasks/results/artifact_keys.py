"""The keys of artifacts. Prefect keeps a history for each key."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from prefect import get_client, runtime
from prefect.context import FlowRunContext
from slugify import slugify

from tasks.parameters import Output

Kind = Literal["progress", "files", "report"]


async def key_maker() -> Callable[[Kind], str]:
    """Return a function that gives the keys for the flow run of this context."""
    output = Output.model_validate(runtime.flow_run.parameters.get("output", {}))
    return partial(make_key, output=output, deployment=await read_deployment_name())


async def read_deployment_name() -> str:
    """Return the name of the run's deployment. Empty: it has none."""
    # prefect.runtime.deployment would send a request that blocks the event loop.
    context = FlowRunContext.get()
    if not (context and context.flow_run and context.flow_run.deployment_id):
        return ""
    async with get_client() as client:
        return (await client.read_deployment(context.flow_run.deployment_id)).name


def make_key(kind: Kind, output: Output, *, deployment: str) -> str:
    """Return a key that the runs of a deployment, or those into one output, have in common.

    Runs with another prefix or other presets have another history.
    """
    place = deployment.removeprefix("convert-") or output.container
    return slugify(" ".join(("convert", place, output.prefix, *output.presets, kind)))
