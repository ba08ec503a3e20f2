"""How does a batch task end that exits with 0 and leaves no output file?"""

from bench import CONDITIONS, Bench, batch_result

WANTED = "FileUploadMiscError, exit code 0"


async def ask(bench: Bench) -> str:
    output = bench.output("output.mp3", path=bench.fresh("blob"), when=CONDITIONS.TASK_SUCCESS)
    return batch_result(await bench.run(output_files=[output]))
