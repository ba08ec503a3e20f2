"""How does the node agent split a command line with quotes?

The start task is `/bin/sh -c '…'`. Other values with quotes go into environment settings.
"""

from bench import Bench

WANTED = "[a b][c d][zero][e][]"
COMMAND = """/bin/sh -c 'printf "[%s]" "a b" c\\ d "$0" "$1" ""' zero "e\""""


async def ask(bench: Bench) -> str:
    return await bench.stdout(await bench.run(command_line=COMMAND))
