"""Is an output's path the blob's name, with any characters?"""

from bench import Bench

WANTED = "unchanged"
NAMES = ["it's é.mp3", "100%25 #1?.mp3", "a+b&c.mp3", "{x} [y].mp3", "😀.mp3", "a/b c/d.mp3"]


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    await bench.run(
        "echo a >file", output_files=[bench.output("file", path=f"{folder}/{n}") for n in NAMES]
    )
    found = sorted(await bench.sizes(folder))
    return "unchanged" if found == sorted(NAMES) else str(found)
