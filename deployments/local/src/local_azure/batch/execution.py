"""One execution of a command on a node: files down, the process, files up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from local_azure.batch import folders, scheduler
from local_azure.batch.clock import Clock
from local_azure.batch.faults import DownloadFailure, Faults, UploadFailure
from local_azure.batch.process import LaunchError, Process
from local_azure.batch.reaper import Reaper
from local_azure.batch.specs import ResourceFile, Setting
from local_azure.batch.state import Failure, Node, Task
from local_azure.batch.transfers import TransferError, Transfers


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended; a failure other than an exit code is never retried."""

    exit_code: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What executions need of the service."""

    account: str
    url: str
    node_path: str
    clock: Clock
    transfers: Transfers
    reaper: Reaper
    faults: Faults


def environment(around: Surroundings, node: Node, folder: Path) -> dict[str, str]:
    """What the node's agent tells a command that runs in `folder`."""
    root = node.folder
    return {
        "AZ_BATCH_ACCOUNT_NAME": around.account,
        "AZ_BATCH_ACCOUNT_URL": around.url,
        "AZ_BATCH_POOL_ID": node.pool.id,
        "AZ_BATCH_NODE_ID": node.id,
        "AZ_BATCH_NODE_IS_DEDICATED": str(node.dedicated).lower(),
        "AZ_BATCH_NODE_ROOT_DIR": str(root),
        "AZ_BATCH_NODE_SHARED_DIR": str(root / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(root / "startup"),
        "AZ_BATCH_NODE_MOUNTS_DIR": str(root / "fsmounts"),
        "AZ_BATCH_TASK_DIR": str(folder),
        "AZ_BATCH_TASK_WORKING_DIR": str(folder / "wd"),
    }


def _settings(
    around: Surroundings, folder: Path, *lists: Iterable[Setting] | None
) -> dict[str, str]:
    """The user's settings, over those that a user may change."""
    own = {"PATH": around.node_path, "HOME": str(folder / "wd")}
    return own | {setting.name: setting.value for settings in lists for setting in settings or ()}


async def run_task(around: Surroundings, task: Task, node: Node) -> Outcome:
    """Runs the task once; what is retried is decided by whoever reads the outcome."""
    task.folder = folder = folders.task_folder(node.folder, task.job.id, task.id)
    (folder / "wd").mkdir(parents=True, exist_ok=True)
    variables = (
        _settings(
            around,
            folder,
            task.job.spec.common_environment_settings,
            task.spec.environment_settings,
        )
        | environment(around, node, folder)
        | {"AZ_BATCH_JOB_ID": task.job.id, "AZ_BATCH_TASK_ID": task.id}
    )
    if failure := task.spec.resource_files and around.faults.transfer(DownloadFailure, task):
        return Outcome(failure=failure)
    outcome = await _run(
        around,
        node,
        folder=folder,
        command_line=task.spec.command_line,
        variables=variables,
        files=task.spec.resource_files or (),
        limit=task.spec.constraints.max_wall_clock_time,
    )
    following = scheduler.after_exit(
        exit_code=outcome.exit_code, retries=task.run.retries, max_retries=task.max_retries
    )
    if following is scheduler.Next.RETRY:
        return outcome
    return await _upload(around, task, node, outcome)


async def _upload(around: Surroundings, task: Task, node: Node, outcome: Outcome) -> Outcome:
    """The outcome after the uploads; a failed one turns success into failure."""
    success = outcome.failure is None
    files = [
        file
        for file in task.spec.output_files or ()
        if scheduler.uploads_on(file.upload_options.upload_condition, success=success)
    ]
    if failure := files and around.faults.transfer(UploadFailure, task):
        return Outcome(exit_code=outcome.exit_code, failure=outcome.failure or failure)
    try:
        if files:
            folder = folders.task_folder(node.folder, task.job.id, task.id)
            await around.transfers.upload(files, folder=folder, node_folder=node.folder)
    except TransferError as error:
        return Outcome(exit_code=outcome.exit_code, failure=outcome.failure or error.failure)
    return outcome


async def run_start_task(around: Surroundings, node: Node) -> Outcome:
    """Runs the pool's start task once on the node."""
    start = node.pool.spec.start_task
    assert start is not None  # noqa: S101 - the caller has looked
    folder = node.folder / "startup"
    if exit_code := around.faults.start_task_exit(node):
        (folder / "stderr.txt").write_text("This failure was ordered as a fault.\n")
        return Outcome(exit_code=exit_code, failure=exit_failure(exit_code))
    return await _run(
        around,
        node,
        folder=folder,
        command_line=start.command_line,
        variables=_settings(around, folder, start.environment_settings)
        | environment(around, node, folder),
        files=start.resource_files or (),
        limit=None,
    )


async def _run(  # noqa: PLR0913 - what makes a command
    around: Surroundings,
    node: Node,
    *,
    folder: Path,
    command_line: str,
    variables: Mapping[str, str],
    files: Iterable[ResourceFile],
    limit: timedelta | None,
) -> Outcome:
    deadline = scheduler.earliest(around.clock.now(), limit) if limit is not None else None
    try:
        for file in files:
            await around.transfers.download(file, folder=folder / "wd", node_folder=node.folder)
        process = await Process.launch(
            command_line, folder=folder, environment=variables, reaper=around.reaper
        )
    except (TransferError, LaunchError) as error:
        return Outcome(failure=error.failure)
    exit_code = await process.wait(around.clock, deadline)
    return Outcome(exit_code=exit_code, failure=exit_failure(exit_code))


def exit_failure(exit_code: int | None) -> Failure | None:
    if exit_code == 0:
        return None
    if exit_code is None:
        return ended("The task ran longer than its maxWallClockTime allows")
    return Failure(
        code="FailureExitCode",
        message="The task exited with an exit code representing a failure",
        details={"Message": "The task exited with an exit code representing a failure"},
    )


def ended(reason: str, *, category: str = "usererror") -> Failure:
    return Failure(
        code="TaskEnded",
        message="Task Was Ended",
        category=category,
        details={"Message": reason},
    )
