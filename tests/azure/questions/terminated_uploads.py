"""Are logs uploaded of a batch task that runs while its job is terminated?

At the deadline the job ends itself; what ffmpeg had printed by then would help.
"""

from typing import Any

from bench import Bench, batch_result

WANTED = "TaskEnded, exit code None; no logs"
REASON: Any = {"terminateReason": "Asked"}  # the SDK does not export the model of these options


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    outputs = [bench.output("../std*.txt", path=folder)]
    job = await bench.job()
    added = await bench.add("echo a; sleep 300", job=job, output_files=outputs)
    await bench.reached(*added, state="running")
    await bench.batch.begin_terminate_job(job, options=REASON)
    ended = batch_result(await bench.reached(*added, state="completed"))
    return f"{ended}; {sorted(await bench.sizes(folder)) or 'no logs'}"
