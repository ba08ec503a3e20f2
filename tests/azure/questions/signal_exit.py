"""What is the exit code of a command that signal 9 kills?"""

from bench import Bench, batch_result

WANTED = "FailureExitCode, exit code 137"


async def ask(bench: Bench) -> str:
    return batch_result(await bench.run("kill -9 $$"))
