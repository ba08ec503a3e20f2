"""What a run needs around it: an account or the local stack, and Prefect's server."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

from flows.cli.prefect_api import adopt_prefect_api, may_have_prefect_api, use_plain_api
from flows.cli.signals import heed_signals, held_signals
from tasks.errors import ConvertError

ROOT = Path(__file__).parents[2]  # of the project, where entrypoints begin
PREFECT_FILE = ROOT / "deployments" / "prefect.yaml"
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
DELIVERY_SECONDS = 3


@contextmanager
def surroundings(*modules: str, account: str = "") -> Iterator[None]:
    """What a run needs around it: an account, else the local stack; Prefect's API, else our own.

    `account` names a block of Prefect's, which the run looks up by itself. Both parts start side
    by side, while Prefect and the `modules` of the run are imported; and end side by side.
    """
    from flows.cli.prefect_server import running_server
    from local_azure.errors import StackError
    from local_azure.stack import running_stack
    from tasks.azure.settings import Environment, load_accounts

    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    is_local = not account and Environment().is_unset
    if is_local:
        print("No Azure account is configured: using the local Azure …", file=sys.stderr)
    elif account:
        print(f"Using the accounts of the Prefect block {account}", file=sys.stderr)
    else:
        accounts = load_accounts()  # half an account is told at once
        print(f"Using the Batch account at {accounts.batch_endpoint}", file=sys.stderr)
    heed_signals()  # from here on there is something to end
    with ExitStack() as parts:
        try:
            server = None if may_have_prefect_api() else parts.enter_context(running_server())
            stack = parts.enter_context(running_stack()) if is_local else None
            if adopt_prefect_api():
                server = None
            else:
                server = server or parts.enter_context(running_server())
                parts.callback(server.hang_up)
            with held_signals():
                for module in modules:
                    import_module(module)
            os.environ |= stack.wait() if stack else {}
            if server:
                use_plain_api(server.wait())
        except StackError as error:
            raise ConvertError(str(error), "") from error
        yield


@contextmanager
def delivered_logs() -> Iterator[None]:
    """Hand what is logged to Prefect's server before it may end: else it complains at our exit."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        yield
    finally:
        for worker in (EventsWorker, APILogWorker):
            worker.drain_all(timeout=DELIVERY_SECONDS)
