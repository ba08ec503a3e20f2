"""The lives of jobs: wall clocks, ends, and what the end of a task means for its job."""

import asyncio
import shutil
from datetime import datetime
from typing import TYPE_CHECKING

from local_azure.batch.errors import BatchError
from local_azure.batch.specs import JobSpec
from local_azure.batch.state import Job, JobState, Task

if TYPE_CHECKING:
    from local_azure.batch.service import Service

_BLOCKED = {
    JobState.DELETING: "JobBeingDeleted",
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
}


def check_open(job: Job) -> None:
    """Raises the BatchError that says why a job that has ended cannot be changed."""
    if code := _BLOCKED.get(JobState(job.state)):
        raise BatchError(code)


class JobBoard:
    def __init__(self, service: "Service") -> None:
        self.service = service

    def add(self, spec: JobSpec) -> Job:
        key = spec.id.lower()
        present = self.service.jobs.get(key)
        if present is not None:
            deleting = present.state is JobState.DELETING
            raise BatchError("JobBeingDeleted" if deleting else "JobExists")
        job = self.service.jobs[key] = Job(spec=spec, created=self.service.clock.now())
        self.watch_wall_clock(job)
        self._look_soon(job)
        return job

    def change(self, job: Job, spec: JobSpec) -> None:
        """Puts the changed spec in place, with all that follows from it."""
        job.spec = spec
        job.touch(self.service.clock.now())
        self.watch_wall_clock(job)
        self.look_at(job)
        self.service.dispatch.wake()

    def watch_wall_clock(self, job: Job) -> None:
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        if (deadline := job.deadline) is not None:
            job.wall_clock = self.service.workers.spawn(
                self._expire(job, deadline), name=f"wall clock of {job.id}"
            )

    async def _expire(self, job: Job, deadline: datetime) -> None:
        await self.service.clock.sleep_until(deadline)
        self.terminate(job, "MaxWallClockTimeExpiry")

    def completed(self, task: Task) -> None:
        """What the end of a task means for its job."""
        acts = task.job.spec.on_task_failure == "performexitoptionsjobaction"
        if acts and task.run.result == "failure" and task.job.state is JobState.ACTIVE:
            self.terminate(task.job, "TaskFailed")
        else:
            self.look_at(task.job)

    def look_at(self, job: Job) -> None:
        """Moves the job on, where what it waited for has happened."""
        now = self.service.clock.now()
        if job.state is JobState.ACTIVE:
            if job.spec.on_all_tasks_complete == "terminatejob" and job.all_complete():
                self.terminate(job, "AllTasksComplete")
        elif not job.running and job.state is JobState.DISABLING:
            job.move(JobState.DISABLED, now)
        elif not job.running and job.state is JobState.TERMINATING:
            job.move(JobState.COMPLETED, now)
            job.ended = now

    def terminate(self, job: Job, reason: str | None) -> None:
        """Ends every task; the job is completed when the last process is gone."""
        if job.state not in {JobState.ACTIVE, JobState.DISABLING, JobState.DISABLED}:
            return
        job.terminate_reason = reason
        job.move(JobState.TERMINATING, self.service.clock.now())
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        self._end_tasks(job, f"The job was terminated: {reason or 'UserTerminate'}")
        self._look_soon(job)

    def _look_soon(self, job: Job) -> None:
        """Lets the answer to the request that is being served show the state before."""
        asyncio.get_running_loop().call_soon(self.look_at, job)

    def _end_tasks(self, job: Job, reason: str) -> None:
        for task in [*job.running, *job.queue.values()]:
            self.service.dispatch.end(task, reason)

    def disable(self, job: Job, what: str) -> None:
        """Starts no more tasks; those that run are requeued, terminated or waited for."""
        if job.state is not JobState.DISABLING:
            job.move(JobState.DISABLING, self.service.clock.now())
        for task in list(job.running):
            if what == "requeue":
                self.service.dispatch.requeue(task)
            elif what == "terminate":
                self.service.dispatch.end(task, "The job was disabled")
        self._look_soon(job)

    def enable(self, job: Job) -> None:
        if job.state is not JobState.ACTIVE:
            job.move(JobState.ACTIVE, self.service.clock.now())
        self.look_at(job)
        self.service.dispatch.wake()

    def delete(self, job: Job) -> None:
        """Ends everything of the job at once; its record goes when its processes are gone."""
        if job.state is JobState.DELETING:
            raise BatchError("JobBeingDeleted")
        job.move(JobState.DELETING, self.service.clock.now())
        if job.wall_clock is not None:
            job.wall_clock.cancel()
        self._end_tasks(job, "The job was deleted")
        self.service.workers.spawn(self._remove(job), name=f"deletion of {job.id}")

    async def _remove(self, job: Job) -> None:
        workers = {task.worker for task in job.running if task.worker is not None}
        if workers:
            await asyncio.wait(workers)
        folders = {task.folder.parent.parent for task in job.tasks.values() if task.folder}
        for folder in folders:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self.service.retention.forget(job)
        del self.service.jobs[job.id.lower()]
