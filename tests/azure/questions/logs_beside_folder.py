"""Where do stdout and stderr go, which lie above the working folder?

Failed files are explained by what ffmpeg printed, found as `<batch task>/stderr.txt`.
"""

from bench import Bench

WANTED = "['stderr.txt', 'stdout.txt']"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    await bench.run("echo a", output_files=[bench.output("../std*.txt", path=folder)])
    return str(sorted(await bench.sizes(folder)))
