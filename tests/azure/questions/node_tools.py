"""Does a node have all programs that the runner needs, for a user who is not root?

The pool has the pipeline's own start task, which installs ffmpeg with apt.
"""

from bench import Bench

WANTED = "all found"
SCRIPT = """
for tool in ffmpeg od rm tr wc; do command -v $tool >/dev/null || missing="${missing-}$tool "; done
printf %s "${missing:-all found}"
"""


async def ask(bench: Bench) -> str:
    return await bench.stdout(await bench.run(SCRIPT))
