"""Which of the supported images does the pipeline choose?"""

from bench import Bench

WANTED = "batch.node.ubuntu 24.04"


async def ask(bench: Bench) -> str:
    machine = (await bench.batch.get_pool(bench.pool_id)).virtual_machine_configuration
    return str(machine.node_agent_sku_id if machine else None)
