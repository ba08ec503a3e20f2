"""The command line of convert.py, built from the parameter models.

Prefect and the SDKs are imported only to run: help and a wrong flag are answered at once.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter
from platformdirs import user_data_path
from pydantic import ValidationError

from tasks.errors import ConvertError, SettingsError, UsageError
from tasks.parameters import Cleanup, Limits, Output, Pool, Request, Run

CONVERTED, FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
DELIVERY_SECONDS = 3
FLAT = Parameter(name="*")
OUTPUT = Group("Output", sort_key=2)

app = App(
    name="convert.py",
    usage="Usage: python flows/convert.py [SOURCE]... [--preset mp3] [--download-to DIR] …",
    help="Convert media files in parallel with ffmpeg: on Azure Batch, or on this machine where no"
    " Azure account is configured.",
    help_format="plaintext",
    version_flags=[],
    group_arguments=Group("Sources", sort_key=1),
    default_parameter=Parameter(negative=()),
)
app["--help"].show = False


class Terminated(BaseException):
    """SIGTERM came. What is being ended then is not to be ended again."""


def main() -> int:
    """Run the command. Returns its exit status: 0, 1, 2, 130 or 143."""
    signal.signal(signal.SIGTERM, terminate)
    words = sys.argv[1:]
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        return int(command(*bound.args, **bound.kwargs) or CONVERTED)
    except CycloptsError as error:
        return complain(in_one_line(error, words), status=WRONG_USAGE)
    except (UsageError, SettingsError) as error:
        return complain(str(error), status=WRONG_USAGE)
    except ConvertError as error:
        return complain(str(error), status=FAILED)
    except KeyboardInterrupt:
        return complain("interrupted. Run again for the rest.", status=INTERRUPTED)
    except Terminated:
        return complain("terminated. Run again for the rest.", status=TERMINATED)


def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  as signal calls it
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


def complain(message: str, *, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def in_one_line(error: CycloptsError, words: Sequence[str]) -> str:
    if not isinstance(error.__cause__, ValidationError):
        return str(error)
    first = error.__cause__.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{message}."
    name = str(first["loc"][0]).replace("_", "-")
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    flag = next((flag for flag in flags if flag.endswith(name)), name)
    return f"{flag}: {message}, not {first['input']!r}."


@app.default
def command(
    *sources: Annotated[
        str,
        Parameter(help=f"{Request.model_fields['sources'].description} None: five sample clips."),
    ],
    output: Annotated[Output, FLAT, Parameter(group=OUTPUT)] = Output(),
    run: Annotated[Run, FLAT, Parameter(group=OUTPUT)] = Run(),
    pool: Annotated[Pool, Parameter(group=Group("Pool", sort_key=3))] = Pool(),
    limits: Annotated[Limits, Parameter(group=Group("Limits", sort_key=4))] = Limits(),
    cleanup: Annotated[Cleanup, Parameter(group=Group("Cleanup", sort_key=5))] = Cleanup(),
) -> int:
    from tasks.sources import check_sources

    check_sources(sources)
    request = Request(
        sources=list(sources) or sample_clips(),
        output=output,
        run=run,
        pool=pool,
        limits=limits,
        cleanup=cleanup,
    )
    with surroundings():
        return convert(request)


def sample_clips() -> list[str]:
    from flows.samples import make_samples

    folder = user_data_path("batch-convert") / "samples"
    make_samples(folder)
    print(f"No source is named: converting the sample clips in {folder}.", file=sys.stderr)
    return [str(folder)]


@contextmanager
def surroundings() -> Iterator[None]:
    """What a run needs around it: an account, else the local stack; Prefect's API, else our own.

    Both parts start side by side, while Prefect is imported.
    """
    from deployments.local.errors import StackError
    from deployments.local.server import running_server
    from deployments.local.stack import running_stack
    from tasks.settings import Accounts, load_accounts

    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    is_local = Accounts().are_unset
    if is_local:
        print("No Azure account is configured: converting on this machine.", file=sys.stderr)
    else:
        load_accounts()  # half an account is told at once
    with ExitStack() as parts:
        try:
            stack = parts.enter_context(running_stack()) if is_local else None
            server = None if has_prefect_api() else parts.enter_context(running_server())
            os.environ |= stack.wait() if stack else {}
            if server:
                use_prefect_api(server.wait())
        except StackError as error:
            raise ConvertError(str(error), "") from error
        yield


def has_prefect_api() -> bool:
    """Whether a Prefect server is set, in the environment or in the user's profile."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url is not None


def use_prefect_api(url: str) -> None:
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def convert(request: Request) -> int:
    """Run the flow and show it. Returns the exit status."""
    from flows.display import Display, print_report

    display = Display()
    try:
        with display.showing(), delivered_logs():
            run_beside_signals(run_flow(request))
    finally:
        if display.report:
            print_report(display.report)
    return CONVERTED if display.report and display.report.is_success else FAILED


def run_beside_signals(run: Coroutine[None, None, None]) -> None:
    """Run in another thread: a signal then reaches this one, and tears no line of the run.

    A first signal asks the run to stop, and waits until it has cleaned up; a second does not wait.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
    ended: Future[None] = Future()

    async def main() -> None:
        task = asyncio.ensure_future(run)
        started.set_result((asyncio.get_running_loop(), task))
        await task

    def work() -> None:
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  it goes to who waits
            ended.set_exception(error)

    threading.Thread(target=work, name="run", daemon=True).start()
    try:
        ended.result()
    except (KeyboardInterrupt, Terminated):
        loop, task = started.result()
        loop.call_soon_threadsafe(task.cancel)
        wait([ended])
        raise


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


async def run_flow(request: Request) -> None:
    """Run the flow to its end.

    Raises:
        ConvertError: what ended it before it had a report.
    """
    from flows.convert import convert

    parameters = {name: getattr(request, name) for name in Request.model_fields}
    state = await convert(**parameters, return_state=True)
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, Exception):
        raise result
