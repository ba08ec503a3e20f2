"""Where are stdout and stderr uploaded to, which are one level above the working folder?

The reason of a failed file comes from ffmpeg's output in `<batch task>/stderr.txt`.
"""

from bench import Bench

WANTED = "['stderr.txt', 'stdout.txt']"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    await bench.run("echo a", output_files=[bench.output("../std*.txt", path=folder)])
    return str(sorted(await bench.sizes(folder)))
