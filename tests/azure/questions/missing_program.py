"""How does a batch task end whose program is not there?"""

from bench import Bench, batch_result

WANTED = "CommandProgramNotFound, exit code None"


async def ask(bench: Bench) -> str:
    return batch_result(await bench.run(command_line="no-such-program --help"))
