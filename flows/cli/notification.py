"""The automation that sends a notification when a run does not convert all files."""

from typing import Annotated
from uuid import UUID

import yaml
from cyclopts import App, Parameter
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from flows.cli.messages import say
from flows.cli.prefect_api import adopt_prefect_api
from flows.cli.session import ROOT
from tasks.errors import SettingsError, UsageError

AUTOMATION_FILE = ROOT / "deployments" / "notify.yaml"

app = App(
    name="notify.py",
    usage="Usage: python flows/notify.py BLOCK_TYPE/BLOCK_NAME",
    help="Create the automation of deployments/notify.yaml on the configured Prefect server. It"
    " sends a notification when a run does not convert all files. A second call replaces it.",
    help_format="plaintext",
    version_flags=[],
)
app["--help"].show = False


@app.default
def notify(
    block: Annotated[
        str,
        Parameter(
            help="The notification block, such as slack-webhook/nights: see Blocks in the UI."
        ),
    ],
    /,
) -> None:
    if not adopt_prefect_api():
        raise SettingsError("No Prefect server is configured.", "Set PREFECT_API_URL to its API.")
    with get_client(sync_client=True) as client:
        automation = read_automation(find_block(client, block))
        earlier = client.read_automations_by_name(automation.name)
        client.create_automation(automation)
        for each in earlier:
            client.delete_automation(each.id)
    say(f"Created the automation {automation.name!r}, which uses the block {block}.")


def read_automation(block_id: UUID) -> AutomationCore:
    content = yaml.safe_load(AUTOMATION_FILE.read_text())
    for action in content["actions"]:
        action["block_document_id"] = str(block_id)
    return AutomationCore.model_validate(content)


def find_block(client: SyncPrefectClient, block: str) -> UUID:
    """Return the id of a block.

    Raises:
        UsageError: There is no such block.
    """
    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        raise UsageError(
            f"Prefect has no block {block!r}.",
            "Create a notification block in Prefect's UI, under Blocks. `prefect block ls` lists"
            " its type and name.",
        ) from None
