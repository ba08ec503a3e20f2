"""Does the node keep the start task's output in `startup/stdout.txt` and `stderr.txt`?

If start tasks fail, the run's diagnosis quotes these files.
"""

from bench import Bench

WANTED = "['startup/stderr.txt', 'startup/stdout.txt']"


async def ask(bench: Bench) -> str:
    batch_task = await bench.run()
    assert batch_task.node_info is not None
    files = bench.batch.list_node_files(
        bench.pool_id, str(batch_task.node_info.node_id), recursive=True
    )
    names = [file.name async for file in files]
    return str(sorted(name for name in names if str(name).startswith("startup/std")))
