"""The pools and jobs of the account."""

from dataclasses import dataclass, field

from local_azure.batch.error_codes import BatchError
from local_azure.batch.state import Job, Node, Pool, Task


@dataclass(frozen=True)
class Registry:
    """Every pool and job by its id in lower case. An unknown id raises BatchError."""

    pools: dict[str, Pool] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def pool(self, pool_id: str) -> Pool:
        if (pool := self.pools.get(pool_id.lower())) is None:
            raise BatchError("PoolNotFound")
        return pool

    def node(self, pool_id: str, node_id: str) -> Node:
        if (node := self.pool(pool_id).nodes.get(node_id.lower())) is None:
            raise BatchError("NodeNotFound")
        return node

    def job(self, job_id: str) -> Job:
        if (job := self.jobs.get(job_id.lower())) is None:
            raise BatchError("JobNotFound")
        return job

    def task(self, job_id: str, task_id: str) -> Task:
        if (task := self.job(job_id).tasks.get(task_id.lower())) is None:
            raise BatchError("TaskNotFound")
        return task
