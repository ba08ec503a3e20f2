"""The properties of records in answers: one table per kind of record."""

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from local_azure.batch.node_files import File
from local_azure.batch.run import Run
from local_azure.batch.state import Job, Node, Pool, Record, Task, TaskState
from local_azure.batch.wire import View

if TYPE_CHECKING:
    from local_azure.directory import Directory

NODE_COUNTS = (
    "creating",
    "idle",
    "offline",
    "preempted",
    "rebooting",
    "reimaging",
    "running",
    "starting",
    "startTaskFailed",
    "leavingPool",
    "unknown",
    "unusable",
    "waitingForStartTask",
    "upgradingOS",
    "deallocated",
    "deallocating",
)
_DEFAULT_USER = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}


STATISTICS: View[Record] = {"stats": lambda _: None}  # what `$expand=stats` is for


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _items(specs: Any) -> list[dict[str, Any]] | None:
    return [spec.wire() for spec in specs] if specs else None


RECORD: View[Record] = {
    "eTag": lambda record: record.etag,
    "lastModified": lambda record: record.modified,
    "creationTime": lambda record: record.created,
    "state": lambda record: record.state,
    "stateTransitionTime": lambda record: record.state_since,
}
HISTORY: View[Record] = {
    "previousState": lambda record: record.previous_state,
    "previousStateTransitionTime": lambda record: record.previous_since,
}


def pool(url: str, *, directory: "Directory | None") -> View[Pool]:
    return {
        "id": lambda pool: pool.id,
        "displayName": lambda pool: pool.spec.display_name,
        "url": lambda pool: f"{url}/pools/{pool.id}",
        **RECORD,
        "allocationState": lambda pool: pool.allocation,
        "allocationStateTransitionTime": lambda pool: pool.allocation_since,
        "vmSize": lambda pool: pool.spec.vm_size,
        "virtualMachineConfiguration": lambda pool: pool.spec.virtual_machine_configuration,
        "resizeTimeout": lambda pool: None if pool.formula else pool.spec.resize_timeout,
        "resizeErrors": lambda pool: pool.resize_errors or None,
        "currentDedicatedNodes": lambda pool: len(pool.members(dedicated=True)),
        "currentLowPriorityNodes": lambda pool: len(pool.members(dedicated=False)),
        "targetDedicatedNodes": lambda pool: pool.target_dedicated,
        "targetLowPriorityNodes": lambda pool: pool.target_spot,
        "enableAutoScale": lambda pool: pool.formula is not None,
        "autoScaleFormula": lambda pool: pool.formula,
        "autoScaleEvaluationInterval": lambda pool: pool.interval if pool.formula else None,
        "autoScaleRun": lambda pool: pool.auto_scale_run if pool.formula else None,
        "enableInterNodeCommunication": lambda _: False,
        "startTask": start_task,
        "taskSlotsPerNode": lambda pool: pool.slots_per_node,
        "taskSchedulingPolicy": lambda pool: _present(
            nodeFillType=getattr(pool.spec.task_scheduling_policy, "node_fill_type", "spread")
        ),
        "metadata": lambda pool: _items(pool.spec.metadata),
        "identity": lambda _: directory and _identity(directory),
        **STATISTICS,
    }


def _identity(directory: "Directory") -> dict[str, Any]:
    """Return the identity of pools. In Azure only pools made by Resource Manager have one."""
    identity = {
        "resourceId": directory.node_identity,
        "clientId": directory.node_client,
        "principalId": directory.node_client,
    }
    return {"type": "UserAssigned", "userAssignedIdentities": [identity]}


def start_task(pool: Pool) -> dict[str, Any] | None:
    start = pool.spec.start_task
    return {"userIdentity": _DEFAULT_USER} | start.wire() if start else None


def _run(run: Run) -> dict[str, Any]:
    return _present(
        startTime=run.started,
        endTime=run.ended,
        exitCode=run.exit_code,
        failureInfo=run.failure.wire() if run.failure else None,
        result=run.result,
        retryCount=run.retries,
        lastRetryTime=run.last_retry,
    )


def node(url: str) -> View[Node]:
    return {
        "id": lambda node: node.id,
        "url": lambda node: f"{url}/pools/{node.pool.id}/nodes/{node.id}",
        "state": lambda node: node.state,
        "schedulingState": lambda node: "enabled" if node.schedulable else "disabled",
        "stateTransitionTime": lambda node: node.state_since,
        "lastBootTime": lambda node: node.booted,
        "allocationTime": lambda node: node.created,
        "ipAddress": lambda _: "127.0.0.1",
        "affinityId": lambda node: f"TVM:{node.id}",
        "vmSize": lambda node: node.pool.spec.vm_size,
        "totalTasksRun": lambda node: node.tasks_run,
        "runningTasksCount": lambda node: len(node.tasks),
        "runningTaskSlotsCount": lambda node: node.used_slots,
        "totalTasksSucceeded": lambda node: node.tasks_succeeded,
        "recentTasks": lambda node: [_recent(url, task) for task in node.recent] or None,
        "startTask": lambda node: start_task(node.pool),
        "startTaskInfo": lambda node: (
            _run(node.start_run) | {"state": node.start_state} if node.start_run else None
        ),
        "errors": lambda node: node.errors or None,
        "isDedicated": lambda node: node.dedicated,
        "nodeAgentInfo": lambda node: {"version": "1.0.0", "lastUpdateTime": node.created},
        "virtualMachineInfo": lambda node: {
            "imageReference": node.pool.spec.virtual_machine_configuration.image_reference
        },
    }


def _recent(url: str, task: Task) -> dict[str, Any]:
    return {
        "taskUrl": f"{url}/jobs/{task.job.id}/tasks/{task.id}",
        "jobId": task.job.id,
        "taskId": task.id,
        "taskState": task.state,
        "executionInfo": execution_info(task),
    }


def execution_info(task: Task) -> dict[str, Any]:
    run = task.run
    return _run(run) | _present(requeueCount=run.requeues, lastRequeueTime=run.last_requeue)


def job(url: str) -> View[Job]:
    return {
        "id": lambda job: job.id,
        "displayName": lambda job: job.spec.display_name,
        "url": lambda job: f"{url}/jobs/{job.id}",
        **RECORD,
        **HISTORY,
        "priority": lambda job: job.spec.priority or 0,
        "maxParallelTasks": lambda job: (
            -1 if job.spec.max_parallel_tasks is None else job.spec.max_parallel_tasks
        ),
        "allowTaskPreemption": lambda _: False,
        "usesTaskDependencies": lambda _: False,
        "constraints": lambda job: job.constraints,
        "commonEnvironmentSettings": lambda job: _items(job.spec.common_environment_settings),
        "poolInfo": lambda job: job.spec.pool_info,
        "onAllTasksComplete": lambda job: job.spec.on_all_tasks_complete or "noaction",
        "onTaskFailure": lambda job: job.spec.on_task_failure,
        "metadata": lambda job: _items(job.spec.metadata),
        "executionInfo": lambda job: _present(
            startTime=job.created,
            endTime=job.ended,
            poolId=job.spec.pool_info.pool_id,
            terminateReason=job.terminate_reason,
        ),
        **STATISTICS,
    }


def task(url: str) -> View[Task]:
    return {
        "id": lambda task: task.id,
        "displayName": lambda task: task.spec.display_name,
        "url": lambda task: f"{url}/jobs/{task.job.id}/tasks/{task.id}",
        **RECORD,
        **HISTORY,
        "commandLine": lambda task: task.spec.command_line,
        "resourceFiles": lambda task: _items(task.spec.resource_files),
        "outputFiles": lambda task: _items(task.spec.output_files),
        "environmentSettings": lambda task: _items(task.spec.environment_settings),
        "constraints": lambda task: task.constraints,
        "requiredSlots": lambda task: task.spec.required_slots,
        "userIdentity": lambda task: task.spec.user_identity or _DEFAULT_USER,
        "executionInfo": execution_info,
        "nodeInfo": lambda task: node_info(url, task),
        **STATISTICS,
    }


def node_info(url: str, task: Task) -> dict[str, Any] | None:
    if task.node is None or task.state is TaskState.ACTIVE:
        return None
    folder = f"workitems/{task.job.id}/job-1/{task.id}"
    node_url = f"{url}/pools/{task.node.pool.id}/nodes/{task.node.id}"
    return {
        "affinityId": f"TVM:{task.node.id}",
        "nodeUrl": node_url,
        "poolId": task.node.pool.id,
        "nodeId": task.node.id,
        "taskRootDirectory": folder,
        "taskRootDirectoryUrl": f"{node_url}/files/{folder}",
    }


def file(url: str) -> View[File]:
    return {
        "name": lambda file: file.name,
        "url": lambda file: f"{url}/{quote(file.name, errors='replace')}",
        "isDirectory": lambda file: file.is_folder,
        "properties": lambda file: (
            None
            if file.is_folder
            else {
                "creationTime": file.modified,
                "lastModified": file.modified,
                "contentLength": str(file.bytes),
                "contentType": "application/octet-stream",
                "fileMode": file.mode,
            }
        ),
    }


def node_counts(pool: Pool) -> dict[str, Any]:
    def counted(*, dedicated: bool) -> dict[str, int]:
        states = Counter(
            str(node.state) for node in pool.nodes.values() if node.dedicated is dedicated
        )
        counts = {name: states[name.lower()] for name in NODE_COUNTS}
        return counts | {"total": states.total()}

    return {
        "poolId": pool.id,
        "dedicated": counted(dedicated=True),
        "lowPriority": counted(dedicated=False),
    }
