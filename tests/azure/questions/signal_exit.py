"""What is the exit code of a command that is killed by signal 9?"""

from bench import Bench, batch_result

WANTED = "FailureExitCode, exit code 137"


async def ask(bench: Bench) -> str:
    return batch_result(await bench.run("kill -9 $$"))
