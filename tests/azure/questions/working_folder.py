"""Does a command start in `AZ_BATCH_TASK_WORKING_DIR`, and may it write there?"""

from bench import Bench

WANTED = "yes, and it may write"
SCRIPT = """
cd -P "$AZ_BATCH_TASK_WORKING_DIR" && there=$PWD && cd - >/dev/null
[ "$(pwd -P)" = "$there" ] && touch file && printf 'yes, and it may write'
"""


async def ask(bench: Bench) -> str:
    return await bench.stdout(await bench.run(SCRIPT)) or "no"
