"""What is the exit code of a command that is killed by signal 9?"""

from bench import Bench, outcome

WANTED = "FailureExitCode, exit code 137"


async def ask(bench: Bench) -> str:
    return outcome(await bench.run("kill -9 $$"))
