"""What the live page shows: the account's state at one moment, as JSON."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from heapq import nlargest
from importlib.metadata import version
from typing import Any

from local_azure.batch.service import Service
from local_azure.batch.state import TASK_COUNTS, Job, Node, NodeLoss, Pool, Task

MOST_JOBS = 50
MOST_TASKS = 20


def overview(service: Service) -> dict[str, Any]:
    """Return everything that the page shows. Its cost does not grow with the number of tasks."""
    pools = list(service.registry.pools.values())
    jobs = list(service.registry.jobs.values())
    latest = sorted(jobs, key=lambda job: job.serial, reverse=True)[:MOST_JOBS]
    return {
        "account": service.account,
        "version": version("local-azure"),
        "time": service.clock.now().timestamp(),
        "nodes": {"total": sum(len(pool.nodes) for pool in pools), "most": service.max_nodes},
        "tasks": task_totals(jobs),
        "pools": [pool_values(pool) for pool in pools],
        "jobs": [job_values(job) for job in latest],
        "otherJobs": len(jobs) - len(latest),
        "recentTasks": [task_values(t) for t in newest(job.recent for job in latest)],
        "failedTasks": [task_values(t) for t in newest(map(failed, latest))],
        "refusals": [
            asdict(each) | {"last": each.last.timestamp()} for each in service.recent_refusals
        ],
        "faults": service.faults.in_force(),
    }


def task_totals(jobs: Iterable[Job]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for job in jobs:
        totals.update(job.counts)
    return {name: totals[name] for name in TASK_COUNTS}


def pool_values(pool: Pool) -> dict[str, Any]:
    return {
        "id": pool.id,
        "name": pool.spec.display_name,
        "state": pool.state,
        "allocation": pool.allocation,
        "size": pool.spec.vm_size,
        "slots": pool.slots_per_node,
        "dedicated": pool.target_dedicated,
        "spot": pool.target_spot,
        "isScaled": pool.formula is not None,
        "errors": [f"{each['code']}: {each['message']}" for each in pool.resize_errors],
        "losses": [loss_values(loss) for loss in reversed(pool.losses)],
        "nodes": [node_values(node) for node in pool.nodes.values()],
    }


def loss_values(loss: NodeLoss) -> dict[str, Any]:
    return asdict(loss) | {"at": loss.at.timestamp()}


def node_values(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "state": node.state,
        "since": node.state_since.timestamp(),
        "isDedicated": node.dedicated,
        "isSchedulable": node.schedulable,
        "slots": node.slots,
        "used": node.used_slots,
        "tasks": sorted(f"{task.job.id}/{task.id}" for task in node.tasks),
    }


def job_values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.spec.display_name,
        "state": job.state,
        "pool": job.spec.pool_info.pool_id,
        "created": job.created.timestamp(),
        "reason": job.terminate_reason,
        "counts": {name: job.counts[name] for name in TASK_COUNTS},
    }


def newest(groups: Iterable[Iterable[Task]]) -> list[Task]:
    """Return the tasks whose states changed last, each once. Leave out deleted tasks."""
    tasks = {task.serial: task for group in groups for task in group if exists(task)}
    return nlargest(MOST_TASKS, tasks.values(), key=lambda task: task.state_since)


def failed(job: Job) -> list[Task]:
    """Return the job's last failures, without tasks that were reactivated."""
    return [task for task in job.failures if task.run.result == "failure"]


def exists(task: Task) -> bool:
    return task.job.tasks.get(task.id.lower()) is task


def task_values(task: Task) -> dict[str, Any]:
    run, failure = task.run, task.run.failure
    return {
        "id": task.id,
        "job": task.job.id,
        "state": task.state,
        "since": task.state_since.timestamp(),
        "node": task.node.id if task.node else None,
        "result": run.result,
        "exitCode": run.exit_code,
        "failure": f"{failure.code}: {failure.message}" if failure else None,
        "seconds": (run.ended - run.started).total_seconds() if run.started and run.ended else None,
    }
