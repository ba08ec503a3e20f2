"""The commands of convert.py and sweep.py: their flags are the parameters of the flows.

Prefect and the SDKs are imported only to run the flow, so that --help and a wrong flag are quick.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from importlib.metadata import version
from io import TextIOWrapper
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter
from platformdirs import user_data_path
from pydantic import ValidationError

from flows.cli.exit_signals import EXIT_SIGNALS
from flows.cli.garbage import keep_imports
from flows.cli.messages import say
from flows.cli.signals import Terminated, run_beside_signals
from tasks.errors import ConvertError, FilesFailedError, SettingsError, UsageError
from tasks.parameter_types import BlockName, ContainerName
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

CONVERTED, FAILED, WRONG_USAGE = 0, 1, 2
BY_SIGNAL = 128  # plus the number of the signal
DEFAULT_CONTAINER = Cleanup().container
CONVERT, SWEEP = "flows.convert:convert", "flows.sweep:sweep"  # the entrypoints of the flows
FOR_RUNS = ("flows.cli.display", "fastapi.encoders")  # Prefect needs the latter for parameters
FLAT = Parameter(name="*")
SOURCES = Group("Sources", sort_key=1)
OUTPUT = Group("Output", sort_key=2)


def program(script: str, command: str) -> str:
    """Return what the user typed: a script of a clone, or an installed command."""
    return f"python flows/{script}" if sys.argv[0].endswith(".py") else command


convert_app = App(
    name="convert.py",
    usage=f"Usage: {program('convert.py', 'batch-convert')} [SOURCE]... [--preset mp3]"
    " [--download-to DIR] …",
    help="Convert media files in parallel with ffmpeg: on Azure Batch, or on this machine if no"
    " Azure account is configured.",
    help_format="plaintext",
    version_flags=["--version"],
    version=lambda: version("batch-convert"),
    group_arguments=SOURCES,
    default_parameter=Parameter(negative=()),
)
sweep_app = App(
    name="sweep.py",
    usage=f"Usage: {program('sweep.py', 'batch-convert-sweep')} [--delete]",
    help="List or delete the pools, jobs and uploads that killed runs left behind. They have this"
    " project's tag, the deadline of their run has passed, and no run holds the lock.",
    help_format="plaintext",
    version_flags=["--version"],
    version=lambda: version("batch-convert"),
    default_parameter=Parameter(negative=()),
)
for each in (convert_app, sweep_app):
    each["--help"].show = each["--version"].show = False


def main(app: App) -> int:
    """Run a command with the arguments of this process. Return its exit status."""
    words = sys.argv[1:]
    if isinstance(sys.stdout, TextIOWrapper):
        # As on standard error: a name must not end the command if the terminal does not know it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        check_encoding(words)
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        return int(command(*bound.args, **bound.kwargs) or CONVERTED)
    except CycloptsError as error:
        return complain(in_one_line(error, words), status=WRONG_USAGE)
    except (UsageError, SettingsError) as error:
        return complain(str(error), status=WRONG_USAGE)
    except ConvertError as error:
        return complain(str(error), status=FAILED)
    except KeyboardInterrupt:
        return complain_of_signal(signal.SIGINT)
    except Terminated as termination:
        return complain_of_signal(termination.number)


def check_encoding(words: Sequence[str]) -> None:
    """Check that Prefect can store the arguments. Only names of files can have other bytes.

    Raises:
        UsageError: An argument is not UTF-8.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The name {word} is not valid UTF-8.",
                "Rename it, or name the folder that contains it.",
            ) from error


def leave(status: int) -> NoReturn:
    """End this process immediately: Python takes half a second to unload Prefect's modules."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader of a pipe has gone
            stream.flush()
    os._exit(status)


def complain(message: str, *, status: int) -> int:
    say(f"error: {message}")
    return status


def complain_of_signal(number: signal.Signals) -> int:
    message = f"{EXIT_SIGNALS[number]}. Run again to do the rest."
    return complain(message, status=BY_SIGNAL + number)


def in_one_line(error: CycloptsError, words: Sequence[str]) -> str:
    if not isinstance(error.__cause__, ValidationError):
        return str(error)
    first = error.__cause__.errors()[0]
    message = first["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    if not first["loc"]:
        return f"{message}."
    name = str(first["loc"][0]).replace("_", "-")
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    # A flag is the singular of its list: --preset is repeated for each of `presets`.
    flag = next((flag for flag in flags if flag.endswith(name) or f"{flag}s" == f"--{name}"), name)
    if first["type"] == "value_error":
        return f"{flag}: {message}."
    return f"{flag}: {message}, not {first['input']!r}."


@convert_app.default
def convert(
    *sources: Annotated[
        str,
        Parameter(
            help=f"{Request.model_fields['sources'].description} Default: five sample clips."
        ),
    ],
    exclude: Annotated[
        list[str],
        Parameter(
            metavar="GLOB",
            show_default=False,
            group=SOURCES,
            help=Request.model_fields["exclude"].description,
        ),
    ] = [],  # noqa: B006  it is never changed
    output: Annotated[Output, FLAT, Parameter(group=OUTPUT)] = Output(),
    run: Annotated[Run, FLAT, Parameter(group=OUTPUT)] = Run(),
    pool: Annotated[Pool, Parameter(group=Group("Pool", sort_key=3))] = Pool(),
    node: Annotated[Node, Parameter(group=Group("Node", sort_key=4))] = Node(),
    limits: Annotated[Limits, Parameter(group=Group("Limits", sort_key=5))] = Limits(),
    cleanup: Annotated[Cleanup, Parameter(group=Group("Cleanup", sort_key=6))] = Cleanup(),
) -> int:
    from flows.cli.session import session
    from tasks.media.sources import check_sources_exist

    check_sources_exist(sources)
    with session("flows.convert", *FOR_RUNS, account=run.account) as wait_until_ready:
        request = Request(
            sources=list(sources) or sample_clips(),
            exclude=exclude,
            output=output,
            run=run,
            pool=pool,
            node=node,
            limits=limits,
            cleanup=cleanup,
        )
        wait_until_ready()
        return run_conversions(request)


def sample_clips() -> list[str]:
    from flows.cli.samples import make_samples

    folder = user_data_path("batch-convert") / "samples"
    make_samples(folder)
    say(f"No source given: converting the sample clips in {folder}.")
    return [str(folder)]


def run_conversions(request: Request) -> int:
    """Run the flow and show its progress. Return the exit status."""
    from flows.cli.display import Display, print_report
    from flows.cli.session import delivered_logs

    flow = resolve_name(CONVERT)
    keep_imports()
    display = Display()
    parameters = {name: getattr(request, name) for name in Request.model_fields}
    try:
        with display.showing(), delivered_logs():
            run_beside_signals(result_of(flow(**parameters, return_state=True)))
    except FilesFailedError:  # the table has the details
        pass
    finally:
        if display.report:
            print_report(display.report)
    if not display.report:
        raise ConvertError(
            "The run was cancelled in Prefect before its plan was ready.", "Run again."
        )
    return CONVERTED if display.report.is_success else FAILED


@sweep_app.default
def sweep(
    *,
    delete: Annotated[
        bool,
        Parameter(
            show_default=False, help="Delete what was found. Without this flag, only list it."
        ),
    ] = False,
    container: Annotated[
        ContainerName, Parameter(help="The blob container of the runs' uploads.")
    ] = DEFAULT_CONTAINER,
    account: Annotated[BlockName, Parameter(help=Run.model_fields["account"].description)] = "",
) -> int:
    from flows.cli.session import delivered_logs, session

    with session("flows.sweep", *FOR_RUNS, account=account) as wait_until_ready:
        wait_until_ready()
        from flows.cli.display import Display, print_leftovers

        flow = resolve_name(SWEEP)
        keep_imports()
        with Display().showing(), delivered_logs():
            sweeping = flow(
                dry_run=not delete, container=container, account=account, return_state=True
            )
            leftovers = run_beside_signals(result_of(sweeping))
        print_leftovers(leftovers, are_deleted=delete)
    return CONVERTED


async def result_of(run: "Awaitable[State[Any]]") -> Any:
    """Return what a flow returned, or raise what it raised."""
    state = await run
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, Exception):
        raise result
    return result
