"""Is a VM size that there is not refused when the pool is made?

If not, it shows only as a resize error, minutes later.
"""

from azure.batch import models

from bench import Bench, refusal

WANTED = "taken"


async def ask(bench: Bench) -> str:
    pool = await bench.batch.get_pool(bench.pool_id)
    name = bench.fresh("pool")
    spec = models.BatchPoolCreateOptions(
        id=name,
        vm_size="Standard_NoSuch",
        virtual_machine_configuration=pool.virtual_machine_configuration,
        target_dedicated_nodes=0,
    )
    said = await refusal(bench.batch.create_pool(spec))
    if said == "taken":
        await bench.batch.begin_delete_pool(name)
    return said
