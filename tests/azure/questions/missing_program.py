"""How does a batch task end whose program is not there?"""

from bench import Bench, outcome

WANTED = "CommandProgramNotFound, exit code None"


async def ask(bench: Bench) -> str:
    return outcome(await bench.run(command_line="no-such-program --help"))
