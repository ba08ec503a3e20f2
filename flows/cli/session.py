"""What a command needs around its flow: an account, or the local Azure; and a Prefect server."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.messages import say
from flows.cli.prefect_api import adopt_prefect_api, use_local_api
from flows.cli.prefect_server import PrefectServer, running_server
from flows.cli.signals import held_signals, raise_on_signals
from tasks.azure.settings import Environment, load_accounts
from tasks.errors import ConvertError, SettingsError

if TYPE_CHECKING:
    from local_azure.stack import Stack

ROOT = Path(__file__).parents[2]  # of the project, or of the installed packages: of entrypoints
PREFECT_FILE = ROOT / "deployments" / "prefect.yaml"
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
DELIVERY_SECONDS = 3


@contextmanager
def session(*modules: str, account: str = "") -> Iterator[Callable[[], None]]:
    """Run a block with accounts and a Prefect server.

    The local Azure and the server start side by side, while the `modules` of the flow are
    imported; and end side by side. The block receives a function that waits until all are ready.

    Args:
        modules: What the flow needs, by name.
        account: A Prefect block with the accounts, which the flow loads by itself. Empty: the
            environment has the accounts, or else the local Azure is started.
    """
    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    is_local = uses_local_azure(account)
    raise_on_signals()  # from here on there is something to end
    with ExitStack() as parts:
        # Which server is configured is known once Prefect is imported; mostly, none is.
        server = None
        if "PREFECT_API_URL" not in os.environ:
            with suppress(SettingsError):  # without a configured server, the next try below fails
                server = parts.enter_context(running_server())
        stack = parts.enter_context(running_local_azure()) if is_local else None

        def wait_until_ready() -> None:
            used = chosen_server(server, parts)
            with held_signals():
                for module in modules:
                    import_module(module)
            os.environ.update(settings_of(stack) if stack else {})
            if used:
                use_local_api(used.wait())

        yield wait_until_ready


def chosen_server(started: PrefectServer | None, parts: ExitStack) -> PrefectServer | None:
    """Return the server of this command, which `parts` ends. None: another one is configured."""
    if adopt_prefect_api():
        if started:
            started.hang_up()
        return None
    if started:
        parts.callback(started.hang_up)
    else:  # an empty PREFECT_API_URL, or a data folder that cannot be written
        started = parts.enter_context(running_server())
    if started.is_new:
        say("Creating Prefect's database (once; about 10 s) …")
    return started


def uses_local_azure(account: str) -> bool:
    """Say which account the command uses. Return whether it is the local Azure.

    Raises:
        SettingsError: The settings are incomplete; or there are none, and no local Azure is
            installed.
    """
    if account:
        say(f"Using the accounts of the Prefect block {account}")
        return False
    if not Environment().is_unset:
        accounts = load_accounts()
        say(f"Using the Batch account at {accounts.batch_endpoint}")
        return False
    check_local_azure()
    say("No Azure account is configured: using the local Azure …")
    return True


def check_local_azure() -> None:
    """Check that the local Azure is installed.

    Raises:
        SettingsError: It is not.
    """
    if find_spec("local_azure") is None:
        raise SettingsError(
            "No Azure account is configured, and the local Azure is not installed.",
            "To convert in Azure, set AZURE_BATCH_ENDPOINT and AZURE_STORAGE_CONNECTION_STRING (or"
            " AZURE_STORAGE_ACCOUNT), in the environment or in .env. To convert on this machine,"
            " run `pip install ./deployments/local` in a clone of this project.",
        )


@contextmanager
def running_local_azure(data: Path | None = None) -> Iterator["Stack"]:
    """Use the local Azure of a data folder, or start one there. It is still starting at first."""
    from local_azure.errors import StackError
    from local_azure.stack import running_stack

    try:
        with running_stack(data) as stack:
            yield stack
    except StackError as error:
        raise ConvertError(error.problem, error.remedy) from error


def settings_of(stack: "Stack") -> dict[str, str]:
    """Return the settings of the local Azure, once it is ready."""
    from local_azure.errors import StackError

    try:
        return stack.wait()
    except StackError as error:
        raise ConvertError(error.problem, error.remedy) from error


@contextmanager
def delivered_logs() -> Iterator[None]:
    """Deliver events and log lines before Prefect's server ends, or Prefect complains at exit."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        yield
    finally:
        for worker in (EventsWorker, APILogWorker):
            worker.drain_all(timeout=DELIVERY_SECONDS)
