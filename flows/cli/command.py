"""The command lines of convert.py and sweep.py, built from the parameters of their flows.

Prefect and the SDKs are imported only to run: help and a wrong flag are answered at once.
"""

import gc
import os
import sys
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter
from platformdirs import user_data_path
from pydantic import ValidationError

from flows.cli.session import delivered_logs, surroundings
from flows.cli.signals import Terminated, run_beside_signals
from tasks.errors import ConvertError, FilesFailedError, SettingsError, UsageError
from tasks.parameters import (
    BlockName,
    Cleanup,
    ContainerName,
    Limits,
    Node,
    Output,
    Pool,
    Request,
    Run,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

CONVERTED, FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
GARBAGE = (2000, 5, 2)  # Python 3.11's are 700, 10, 10: objects, then looks at the younger
DEFAULT_CONTAINER = Cleanup().container
FOR_RUNS = ("flows.cli.display", "fastapi.encoders")  # the latter by Prefect, for parameters
FLAT = Parameter(name="*")
OUTPUT = Group("Output", sort_key=2)

convert_app = App(
    name="convert.py",
    usage="Usage: python flows/convert.py [SOURCE]... [--preset mp3] [--download-to DIR] …",
    help="Convert media files in parallel with ffmpeg: on Azure Batch, or on this machine where no"
    " Azure account is configured.",
    help_format="plaintext",
    version_flags=[],
    group_arguments=Group("Sources", sort_key=1),
    default_parameter=Parameter(negative=()),
)
sweep_app = App(
    name="sweep.py",
    usage="Usage: python flows/sweep.py [--delete]",
    help="Say which pools, jobs and uploads killed runs left behind, or delete them: only what"
    " bears this project's tag, is past its run's deadline, and whose lock no run holds.",
    help_format="plaintext",
    version_flags=[],
    default_parameter=Parameter(negative=()),
)
for each in (convert_app, sweep_app):
    each["--help"].show = False


def main(app: App) -> int:
    """Run a command with the words of this process. Returns its exit status."""
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


def leave(status: int) -> NoReturn:
    """End this process at once: Python takes half a second to take Prefect's modules apart."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(status)


def keep_imports() -> None:
    """What is imported by now stays: the garbage collector need not look at it again.

    At the young it looks less often, a twentieth of our CPU time; at the rest more often: answers
    hold each other in circles, with all that they said.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


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
    # A list's flag is given once for each of its values, and named for one.
    flag = next((flag for flag in flags if flag.endswith(name) or f"{flag}s" == f"--{name}"), name)
    if first["type"] == "value_error":
        return f"{flag}: {message}."
    return f"{flag}: {message}, not {first['input']!r}."


@convert_app.default
def convert(
    *sources: Annotated[
        str,
        Parameter(help=f"{Request.model_fields['sources'].description} None: five sample clips."),
    ],
    output: Annotated[Output, FLAT, Parameter(group=OUTPUT)] = Output(),
    run: Annotated[Run, FLAT, Parameter(group=OUTPUT)] = Run(),
    pool: Annotated[Pool, Parameter(group=Group("Pool", sort_key=3))] = Pool(),
    node: Annotated[Node, Parameter(group=Group("Node", sort_key=4))] = Node(),
    limits: Annotated[Limits, Parameter(group=Group("Limits", sort_key=5))] = Limits(),
    cleanup: Annotated[Cleanup, Parameter(group=Group("Cleanup", sort_key=6))] = Cleanup(),
) -> int:
    from tasks.media.sources import check_sources_exist

    check_sources_exist(sources)
    request = Request(
        sources=list(sources) or sample_clips(),
        output=output,
        run=run,
        pool=pool,
        node=node,
        limits=limits,
        cleanup=cleanup,
    )
    with surroundings("flows.convert", *FOR_RUNS, account=run.account):
        return run_conversions(request)


def sample_clips() -> list[str]:
    from flows.cli.samples import make_samples

    folder = user_data_path("batch-convert") / "samples"
    make_samples(folder)
    print(f"No source is named: converting the sample clips in {folder}.", file=sys.stderr)
    return [str(folder)]


def run_conversions(request: Request) -> int:
    """Run the flow and show it. Returns the exit status."""
    from flows.cli.display import Display, print_report
    from flows.convert import convert as flow

    keep_imports()
    display = Display()
    parameters = {name: getattr(request, name) for name in Request.model_fields}
    try:
        with display.showing(), delivered_logs():
            run_beside_signals(result_of(flow(**parameters, return_state=True)))
    except FilesFailedError:  # the table says it better
        pass
    finally:
        if display.report:
            print_report(display.report)
    if not display.report:
        raise ConvertError("The run was cancelled in Prefect, while it planned.", "Run again.")
    return CONVERTED if display.report.is_success else FAILED


@sweep_app.default
def sweep(
    *,
    delete: Annotated[
        bool, Parameter(show_default=False, help="Delete it; else it is only said.")
    ] = False,
    container: Annotated[
        ContainerName, Parameter(help="The blob container of the runs' uploads.")
    ] = DEFAULT_CONTAINER,
    account: Annotated[BlockName, Parameter(help=Run.model_fields["account"].description)] = "",
) -> int:
    with surroundings("flows.sweep", *FOR_RUNS, account=account):
        from flows.cli.display import Display, print_leftovers
        from flows.sweep import sweep as flow

        keep_imports()
        with Display().showing(), delivered_logs():
            sweeping = flow(
                dry_run=not delete, container=container, account=account, return_state=True
            )
            leftovers = run_beside_signals(result_of(sweeping))
        print_leftovers(leftovers, are_deleted=delete)
    return CONVERTED


async def result_of(run: "Awaitable[State[Any]]") -> Any:
    """What a flow returned; what it raised is raised."""
    state = await run
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, Exception):
        raise result
    return result
