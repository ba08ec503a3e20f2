"""One execution of a command on a node: download files, run the process, upload files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from local_azure.batch import node_files, scheduler
from local_azure.batch.clock import Clock
from local_azure.batch.descendants import Descendants
from local_azure.batch.fault_kinds import DownloadFailure, UploadFailure
from local_azure.batch.faults import Faults
from local_azure.batch.process import LaunchError, Process
from local_azure.batch.reaper import Reaper
from local_azure.batch.run import Failure
from local_azure.batch.specs import ResourceFile, Setting
from local_azure.batch.state import Node, Task
from local_azure.batch.transfers import TransferError, Transfers, fail_upload


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended. Only a failure by exit code is retried."""

    exit_code: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line with its folder on the node, its variables and its resource files."""

    line: str
    folder: Path
    variables: Mapping[str, str]
    files: Iterable[ResourceFile]
    limit: timedelta | None = None


@dataclass(kw_only=True, eq=False)
class Executor:
    """Runs tasks and start tasks on nodes, each once."""

    account: str
    node_path: str
    clock: Clock
    transfers: Transfers
    reaper: Reaper
    faults: Faults
    url: str = ""
    """The service's address, from the first request."""
    descendants: Descendants = field(default_factory=Descendants)

    async def run_task(self, task: Task, node: Node) -> Outcome:
        """Run the task once. The caller decides about a retry."""
        task.folder = folder = node_files.task_folder(node.folder, task.job.id, task.id)
        (folder / "wd").mkdir(parents=True, exist_ok=True)
        lists = (task.job.spec.common_environment_settings, task.spec.environment_settings)
        ids = {"AZ_BATCH_JOB_ID": task.job.id, "AZ_BATCH_TASK_ID": task.id}
        variables = self._settings(folder, *lists) | self._environment(node, folder) | ids
        files = task.spec.resource_files or ()
        if failure := files and self.faults.transfer(DownloadFailure, task):
            return Outcome(failure=failure)
        command = Command(
            line=task.spec.command_line,
            folder=folder,
            variables=variables,
            files=files,
            limit=task.constraints.max_wall_clock_time,
        )
        outcome = await self._run(command, node)
        following = scheduler.after_exit(
            exit_code=outcome.exit_code, retries=task.run.retries, max_retries=task.max_retries
        )
        if following is scheduler.Next.RETRY:
            return outcome
        return await self._upload(task, node, outcome)

    async def run_start_task(self, node: Node) -> Outcome:
        """Run the pool's start task once on the node."""
        start = node.pool.spec.start_task
        assert start is not None  # noqa: S101  the caller has checked
        folder = node.folder / "startup"
        if exit_code := self.faults.start_task_exit(node):
            (folder / "stderr.txt").write_text("This failure was ordered as a fault.\n")
            return Outcome(exit_code=exit_code, failure=exit_failure(exit_code))
        variables = self._settings(folder, start.environment_settings)
        command = Command(
            line=start.command_line,
            folder=folder,
            variables=variables | self._environment(node, folder),
            files=start.resource_files or (),
        )
        return await self._run(command, node)

    async def _run(self, command: Command, node: Node) -> Outcome:
        limit, folder = command.limit, command.folder
        deadline = scheduler.earliest(self.clock.now(), limit) if limit is not None else None
        try:
            for file in command.files:
                await self.transfers.download(file, folder=folder / "wd", node_folder=node.folder)
            process = await Process.launch(
                command.line,
                folder=folder,
                environment=command.variables,
                reaper=self.reaper,
                descendants=self.descendants,
            )
        except (TransferError, LaunchError) as error:
            return Outcome(failure=error.failure)
        exit_code = await process.wait(self.clock, deadline)
        return Outcome(exit_code=exit_code, failure=exit_failure(exit_code))

    async def _upload(self, task: Task, node: Node, outcome: Outcome) -> Outcome:
        """Upload the output files. A failed upload turns success into failure."""
        success = outcome.failure is None
        files = [
            file
            for file in task.spec.output_files or ()
            if scheduler.uploads_on(file.upload_options.upload_condition, success=success)
        ]
        folder = node_files.task_folder(node.folder, task.job.id, task.id)
        try:
            if failure := files and self.faults.transfer(UploadFailure, task):
                fail_upload(files[0], failure, folder=folder)
            if files:
                await self.transfers.upload(files, folder=folder)
        except TransferError as error:
            return Outcome(exit_code=outcome.exit_code, failure=outcome.failure or error.failure)
        return outcome

    def _environment(self, node: Node, folder: Path) -> dict[str, str]:
        """Return the variables that Batch's node agent sets for a command in `folder`."""
        root = node.folder
        return {
            "AZ_BATCH_ACCOUNT_NAME": self.account,
            "AZ_BATCH_ACCOUNT_URL": self.url,
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

    def _settings(self, folder: Path, *lists: Iterable[Setting] | None) -> dict[str, str]:
        """Return the user's settings, with defaults for those that a user may change."""
        own = {"PATH": self.node_path, "HOME": str(folder / "wd")}
        return own | {each.name: each.value for settings in lists for each in settings or ()}


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


def ended(reason: str, *, is_of_server: bool = False) -> Failure:
    return Failure(
        code="TaskEnded",
        message="Task Was Ended",
        is_of_server=is_of_server,
        details={"Message": reason},
    )
