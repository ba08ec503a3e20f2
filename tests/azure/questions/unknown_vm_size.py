"""Does Batch create a pool with a VM size that does not exist?

If so, the error appears only minutes later, as a resize error.
"""

from azure.batch import models

from bench import Bench, refusal

WANTED = "accepted"


async def ask(bench: Bench) -> str:
    pool = await bench.batch.get_pool(bench.pool_id)
    name = bench.fresh("pool")
    spec = models.BatchPoolCreateOptions(
        id=name,
        vm_size="Standard_NoSuch",
        virtual_machine_configuration=pool.virtual_machine_configuration,
        target_dedicated_nodes=0,
    )
    result = await refusal(bench.batch.create_pool(spec))
    if result == "accepted":
        await bench.batch.begin_delete_pool(name)
    return result
