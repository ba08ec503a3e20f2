"""Which programs hold apt's locks while the start task installs ffmpeg?

The start task stops Ubuntu's own updates first, and tries for ten minutes. apt names the holder.
"""

import re

from bench import Bench

WANTED = "none"
SCRIPT = 'cat "$AZ_BATCH_NODE_STARTUP_DIR/stderr.txt"'
HOLDER = re.compile(r"held by process \d+(?: \((.+?)\))?")


async def ask(bench: Bench) -> str:
    said = await bench.stdout(await bench.run(SCRIPT))
    holders = [found[1] or "a program without a name" for found in HOLDER.finditer(said)]
    return ", ".join(sorted(set(holders))) or "none"
