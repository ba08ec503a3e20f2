"""Assigns waiting tasks to nodes, and runs each task until it is completed."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from local_azure.batch import scheduler
from local_azure.batch.clock import Clock
from local_azure.batch.error_codes import BatchError
from local_azure.batch.execution import Executor, Outcome, ended
from local_azure.batch.faults import Faults
from local_azure.batch.registry import Registry
from local_azure.batch.specs import TaskSpec
from local_azure.batch.state import Job, JobState, Node, NodeState, Pool, Task, TaskState
from local_azure.batch.workers import Workers

READY = {NodeState.IDLE, NodeState.RUNNING}
RECENT_TASKS = 10
MOST_NODES_LOST = 3


@dataclass(frozen=True, kw_only=True)
class TaskEvents:
    """Calls that tell the rest of the service about tasks."""

    started: Callable[[Task, Node], None]
    completed: Callable[[Task], None]
    left: Callable[[Task], None]
    """The task has left its node: its process has ended."""
    failed_inside: Callable[[Node, str], None]
    """The service itself failed while it ran a task on the node."""


@dataclass(kw_only=True, eq=False)
class Dispatch:
    registry: Registry
    clock: Clock
    workers: Workers
    executor: Executor
    faults: Faults
    events: TaskEvents
    _is_woken: bool = False

    def add(self, job: Job, spec: TaskSpec) -> Task:
        """Add a task to the job's queue.

        Raises:
            BatchError: The job has a task with this id.
        """
        key = spec.id.lower()
        if key in job.tasks:
            raise BatchError("TaskExists")
        task = Task(spec=spec, job=job, created=self.clock.now())
        job.tasks[key] = task
        job.count(task, +1)
        self.enqueue(task)
        return task

    def enqueue(self, task: Task, *, first: bool = False) -> None:
        """Queue the task, unless an earlier execution of it is still ending."""
        if task.worker is None and task.state is TaskState.ACTIVE:
            key = task.id.lower()
            task.job.queue[key] = task
            task.job.queue.move_to_end(key, last=not first)
            self.wake()

    def wake(self) -> None:
        """Assign tasks to nodes soon, once for any number of calls."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._place_all)

    def _place_all(self) -> None:
        self._is_woken = False
        if not self.workers.stopping:
            for pool in list(self.registry.pools.values()):
                self._place(pool)

    def _place(self, pool: Pool) -> None:
        rooms = [
            scheduler.Room(node=node.id, free=node.free_slots, total=node.slots)
            for node in pool.nodes.values()
        ]
        policy = pool.spec.task_scheduling_policy
        fill = policy.node_fill_type if policy else "spread"
        for task, node_id in list(scheduler.place(self._queues(pool), rooms, fill)):
            self._start(task, pool.nodes[node_id])

    def _queues(self, pool: Pool) -> list[scheduler.Queue[Task]]:
        return [
            scheduler.Queue(
                priority=job.spec.priority or 0,
                serial=job.serial,
                tasks=((task, task.spec.required_slots) for task in job.queue.values()),
                limit=job.room(),
            )
            for job in self.registry.jobs.values()
            if job.queue and job.state is JobState.ACTIVE and job.pool_key == pool.id.lower()
        ]

    def _start(self, task: Task, node: Node) -> None:
        """Give the task its slots, and start it now or after the delay that was ordered."""
        del task.job.queue[task.id.lower()]
        task.job.running.add(task)
        task.node, task.has_begun = node, False
        node.tasks.add(task)
        node.used_slots += task.spec.required_slots
        seconds = self.faults.scheduling_seconds(task)
        if not seconds:
            self._begin(task, node)
        task.worker = self.workers.spawn(
            self._execute(task, node, seconds),
            name=f"{task.job.id}/{task.id} on {node.id}",
            then=lambda error: self._leave(task, node, error),
        )

    def _begin(self, task: Task, node: Node) -> None:
        now = self.clock.now()
        task.has_begun = True
        task.move(TaskState.RUNNING, now)
        task.run.begin(now)
        node.recent = [task, *(t for t in node.recent if t is not task)][:RECENT_TASKS]
        if node.state is NodeState.IDLE:
            node.move(NodeState.RUNNING, now)
        self.events.started(task, node)

    async def _execute(self, task: Task, node: Node, delay_seconds: float) -> None:
        if delay_seconds:
            await self.clock.sleep(delay_seconds)
            if task.state is not TaskState.ACTIVE or node.state not in READY:
                return
            self._begin(task, node)
        outcome = await self.executor.run_task(task, node)
        if task.state is TaskState.RUNNING:
            self._settle(task, outcome)

    def _settle(self, task: Task, outcome: Outcome) -> None:
        """Complete the task, or note that it is to be retried."""
        following = scheduler.after_exit(
            exit_code=outcome.exit_code, retries=task.run.retries, max_retries=task.max_retries
        )
        if following is scheduler.Next.COMPLETE:
            self.complete(task, outcome)
            return
        now = self.clock.now()
        task.run.end(now, exit_code=outcome.exit_code, failure=outcome.failure)
        task.run.retries += 1
        task.run.last_retry = now
        task.move(TaskState.ACTIVE, now)

    def _leave(self, task: Task, node: Node, error: BaseException | None) -> None:
        """Free the task's slots after an execution, however the execution ended."""
        task.worker = None
        task.job.running.discard(task)
        node.tasks.discard(task)
        node.used_slots -= task.spec.required_slots
        node.tasks_run += task.has_begun
        node.tasks_succeeded += task.has_begun and task.run.result == "success"
        if error is not None:
            self.events.failed_inside(node, f"A worker of the service died: {error!r}")
            self._after_loss(task)
        if node.state is NodeState.RUNNING and not node.tasks:
            node.move(NodeState.IDLE, self.clock.now())
        self.enqueue(task, first=True)
        self.events.left(task)
        self.wake()

    def _after_loss(self, task: Task) -> None:
        """Queue the task again, unless it has cost too many nodes."""
        task.nodes_lost += 1
        if task.nodes_lost < MOST_NODES_LOST:
            self.requeue(task)
        elif task.state is not TaskState.COMPLETED:
            reason = f"{task.nodes_lost} nodes became unusable while they ran the task"
            self.complete(task, Outcome(failure=ended(reason, is_of_server=True)))

    def complete(self, task: Task, outcome: Outcome) -> None:
        now = self.clock.now()
        task.job.queue.pop(task.id.lower(), None)
        # The counts of completed tasks depend on the result: it is set before the state.
        task.run.end(now, exit_code=outcome.exit_code, failure=outcome.failure)
        task.move(TaskState.COMPLETED, now)
        self.events.completed(task)

    def end(self, task: Task, reason: str) -> None:
        """Complete the task as a failure now, and kill its process."""
        if task.state is not TaskState.COMPLETED:
            self.complete(task, Outcome(failure=ended(reason)))
        self.stop(task)

    def stop(self, task: Task) -> None:
        if task.worker is not None and not task.worker.cancelling():
            task.worker.cancel()

    def requeue(self, task: Task, *, preempted: bool = False) -> None:
        """Take a running task off its node; queue it when its process has ended.

        As in Azure, a preemption is not counted as a requeue.
        """
        if task.state is TaskState.RUNNING:
            now = self.clock.now()
            if not preempted:
                task.run.requeues += 1
                task.run.last_requeue = now
            task.move(TaskState.ACTIVE, now)
            task.job.queue.pop(task.id.lower(), None)
        self.stop(task)

    async def stopped(self, task: Task) -> None:
        """Wait until the task's process has ended."""
        if task.worker is not None:
            await asyncio.wait({task.worker})

    async def delete(self, task: Task) -> None:
        """End the task, and delete its record and its files."""
        self.end(task, "The task was deleted")
        await self.stopped(task)
        if task.job.tasks.get(task.id.lower()) is not task:
            return
        task.job.count(task, -1)
        del task.job.tasks[task.id.lower()]
        if task.folder is not None:
            await asyncio.to_thread(shutil.rmtree, task.folder, ignore_errors=True)

    def reactivate(self, task: Task) -> None:
        if task.state is not TaskState.COMPLETED or task.run.exit_code == 0:
            raise BatchError(
                "OperationInvalidForCurrentState",
                Reason="Only a completed task that failed with an exit code other than 0, or "
                "without one, can be reactivated",
            )
        now = self.clock.now()
        task.move(TaskState.ACTIVE, now)
        task.run.retries = 0
        task.run.ended = None
        task.touch(now)
        self.enqueue(task)
