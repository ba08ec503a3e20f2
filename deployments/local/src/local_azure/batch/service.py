"""The account: its pools and jobs, and those who look after them."""

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from local_azure.batch.allocation import Allocation
from local_azure.batch.clock import Clock
from local_azure.batch.dispatch import Dispatch
from local_azure.batch.errors import BatchError
from local_azure.batch.execution import Surroundings
from local_azure.batch.faults import Faults
from local_azure.batch.job_board import JobBoard
from local_azure.batch.nodes import Nodes
from local_azure.batch.reaper import Reaper
from local_azure.batch.retention import Retention
from local_azure.batch.state import Job, Node, Pool, Task
from local_azure.batch.transfers import Transfers
from local_azure.batch.workers import Workers

if TYPE_CHECKING:
    from local_azure.directory import Directory


class Service:
    def __init__(  # noqa: PLR0913 - what makes an account
        self,
        *,
        account: str,
        data: Path,
        max_nodes: int,
        node_path: str,
        transfers: Transfers,
        directory: "Directory | None",
    ) -> None:
        self.account = account
        self.data = data
        self.max_nodes = max_nodes
        self.node_path = node_path
        self.directory = directory
        self.url = ""
        self.pools: dict[str, Pool] = {}
        self.jobs: dict[str, Job] = {}
        self.clock = Clock()
        self.workers = Workers()
        self.transfers = transfers
        self.reaper = Reaper()
        self.allocation = Allocation(self)
        self.nodes = Nodes(self)
        self.dispatch = Dispatch(self)
        self.job_board = JobBoard(self)
        self.retention = Retention(self)
        self.faults = Faults(self)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            account=self.account,
            url=self.url,
            node_path=self.node_path,
            clock=self.clock,
            transfers=self.transfers,
            reaper=self.reaper,
            faults=self.faults,
        )

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

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.workers.spawn(self.retention.run(), name="retention")

    async def stop(self) -> None:
        """Ends every process and removes every node's folder."""
        await self.workers.stop()
        await self.transfers.close()
        self.reaper.close()
        for pool in self.pools.values():
            folder = self.data / pool.id.lower()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
