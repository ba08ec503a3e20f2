"""The lives of jobs: created, changed, disabled, terminated, deleted."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import datetime

from local_azure.batch.clock import Clock
from local_azure.batch.dispatch import Dispatch
from local_azure.batch.error_codes import BatchError
from local_azure.batch.registry import Registry
from local_azure.batch.retention import Retention
from local_azure.batch.specs import JobSpec
from local_azure.batch.state import Job, JobState, Task
from local_azure.batch.workers import Workers

_BLOCKED = {
    JobState.DELETING: "JobBeingDeleted",
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
}


def check_open(job: Job) -> None:
    """Refuse to change a job that has ended.

    Raises:
        BatchError: The job has ended; the code says how.
    """
    if code := _BLOCKED.get(JobState(job.state)):
        raise BatchError(code)


@dataclass(kw_only=True, eq=False)
class JobLife:
    registry: Registry
    clock: Clock
    workers: Workers
    dispatch: Dispatch
    retention: Retention

    def add(self, spec: JobSpec) -> Job:
        key = spec.id.lower()
        present = self.registry.jobs.get(key)
        if present is not None:
            deleting = present.state is JobState.DELETING
            raise BatchError("JobBeingDeleted" if deleting else "JobExists")
        job = self.registry.jobs[key] = Job(spec=spec, created=self.clock.now())
        self._watch_wall_clock(job)
        self._advance_soon(job)
        return job

    def change(self, job: Job, spec: JobSpec) -> None:
        """Replace the job's spec, and apply what changes with it."""
        job.spec = spec
        job.touch(self.clock.now())
        self._watch_wall_clock(job)
        self.advance(job)
        self.dispatch.wake()

    def _watch_wall_clock(self, job: Job) -> None:
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        if (deadline := job.deadline) is not None:
            job.wall_clock = self.workers.spawn(
                self._expire(job, deadline), name=f"wall clock of {job.id}"
            )

    async def _expire(self, job: Job, deadline: datetime) -> None:
        await self.clock.sleep_until(deadline)
        self.terminate(job, "MaxWallClockTimeExpiry")

    def task_completed(self, task: Task) -> None:
        """Terminate or advance the task's job, as the job's spec says."""
        acts = task.job.spec.on_task_failure == "performexitoptionsjobaction"
        if acts and task.run.result == "failure" and task.job.state is JobState.ACTIVE:
            self.terminate(task.job, "TaskFailed")
        else:
            self.advance(task.job)

    def advance(self, job: Job) -> None:
        """Move the job to its next state if what it waited for has happened."""
        now = self.clock.now()
        if job.state is JobState.ACTIVE:
            if job.spec.on_all_tasks_complete == "terminatejob" and job.all_complete():
                self.terminate(job, "AllTasksComplete")
        elif not job.running and job.state is JobState.DISABLING:
            job.move(JobState.DISABLED, now)
        elif not job.running and job.state is JobState.TERMINATING:
            job.move(JobState.COMPLETED, now)
            job.ended = now

    def terminate(self, job: Job, reason: str | None) -> None:
        """End every task. The job is completed when the last process has ended."""
        if job.state not in {JobState.ACTIVE, JobState.DISABLING, JobState.DISABLED}:
            return
        job.terminate_reason = reason
        job.move(JobState.TERMINATING, self.clock.now())
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        self._end_tasks(job, f"The job was terminated: {reason or 'UserTerminate'}")
        self._advance_soon(job)

    def _advance_soon(self, job: Job) -> None:
        """Advance after the present request, whose answer shows the state before."""
        asyncio.get_running_loop().call_soon(self.advance, job)

    def _end_tasks(self, job: Job, reason: str) -> None:
        for task in [*job.running, *job.queue.values()]:
            self.dispatch.end(task, reason)

    def disable(self, job: Job, what: str) -> None:
        """Start no more tasks; requeue, terminate or wait for those that run."""
        if job.state is not JobState.DISABLING:
            job.move(JobState.DISABLING, self.clock.now())
        for task in list(job.running):
            if what == "requeue":
                self.dispatch.requeue(task)
            elif what == "terminate":
                self.dispatch.end(task, "The job was disabled")
        self._advance_soon(job)

    def enable(self, job: Job) -> None:
        if job.state is not JobState.ACTIVE:
            job.move(JobState.ACTIVE, self.clock.now())
        self.advance(job)
        self.dispatch.wake()

    def delete(self, job: Job) -> None:
        """End every task now; delete the job's record when the processes have ended."""
        if job.state is JobState.DELETING:
            raise BatchError("JobBeingDeleted")
        job.move(JobState.DELETING, self.clock.now())
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        self._end_tasks(job, "The job was deleted")
        self.workers.spawn(self._remove(job), name=f"deletion of {job.id}")

    async def _remove(self, job: Job) -> None:
        workers = {task.worker for task in job.running if task.worker is not None}
        if workers:
            await asyncio.wait(workers)
        folders = {task.folder.parent.parent for task in job.tasks.values() if task.folder}
        for folder in folders:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self.retention.forget(job)
        del self.registry.jobs[job.id.lower()]
