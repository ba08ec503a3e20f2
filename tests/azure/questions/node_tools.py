"""Has a node all that the runner needs, for a user who is not root?

The pool's start task is the pipeline's own: it installs ffmpeg with apt.
"""

from bench import Bench

WANTED = "all there"
SCRIPT = """
for tool in ffmpeg od rm tr wc; do command -v $tool >/dev/null || missing="${missing-}$tool "; done
printf %s "${missing:-all there}"
"""


async def ask(bench: Bench) -> str:
    return await bench.stdout(await bench.run(SCRIPT))
