"""What a run needs around it: an account or the local stack, and Prefect's server."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

from flows.signals import heed_signals, held_signals
from tasks.errors import ConvertError

ROOT = Path(__file__).parents[1]  # of the project, where entrypoints begin
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
    from deployments.local.errors import StackError
    from deployments.local.server import running_server
    from deployments.local.stack import running_stack
    from tasks.settings import Environment, load_accounts

    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    is_local = not account and Environment().is_unset
    if is_local:
        print(
            "No Azure account is configured: starting its parts on this machine …", file=sys.stderr
        )
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
            if has_prefect_api():
                server = None
                check_prefect_api()
            else:
                server = server or parts.enter_context(running_server())
                parts.callback(server.hang_up)
            with held_signals():
                for module in modules:
                    import_module(module)
            os.environ |= stack.wait() if stack else {}
            if server:
                use_prefect_api(server.wait())
        except StackError as error:
            raise ConvertError(str(error), "") from error
        yield


def may_have_prefect_api() -> bool:
    """Whether some place may name a Prefect server; to look there takes no import of Prefect."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")
    signs = {profiles: "PREFECT_API_URL", "prefect.toml": "", "pyproject.toml": "tool.prefect"}
    return "PREFECT_API_URL" in os.environ or any(
        Path(file).is_file() and sign in Path(file).read_text(errors="replace")
        for file, sign in (signs | {".env": "PREFECT_"}).items()
    )


def has_prefect_api() -> bool:
    """Whether a Prefect server is set, in the environment or in the user's profile."""
    with held_signals():
        from prefect.settings import get_current_settings

        return get_current_settings().api.url is not None


def check_prefect_api() -> None:
    """Make sure that somebody answers at the user's own Prefect server.

    Raises:
        ConvertError: nobody does.
    """
    import httpx
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    try:
        httpx.get(f"{url}/health", timeout=10)
    except httpx.HTTPError:
        raise ConvertError(
            f"Prefect's server at {url} does not answer.",
            "Start it with `prefect server start`; or let each run have one of its own, with"
            " `prefect config unset PREFECT_API_URL` or without that variable.",
        ) from None


def use_prefect_api(url: str) -> None:
    os.environ["PREFECT_API_URL"] = url
    with held_signals():
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


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
