"""May a batch task's user run a program that the start task copied into the shared folder?

With `--node.ffmpeg az://…`, the start task, an administrator, copies ffmpeg there.
"""

from azure.batch.models import AutoUserScope, AutoUserSpecification, ElevationLevel, UserIdentity

from bench import Bench, batch_result
from tasks.start_task import FROM_STORAGE

WANTED = "success; runs"
PROGRAM = "#!/bin/sh\necho runs\n"
USER = AutoUserSpecification(scope=AutoUserScope.POOL, elevation_level=ElevationLevel.ADMIN)


async def ask(bench: Bench) -> str:
    program = await bench.resource(PROGRAM, path="ffmpeg")
    program.file_mode = "0755"
    copied = await bench.run(
        command_line=f"/bin/sh -c '{FROM_STORAGE}'",
        resource_files=[program],
        user_identity=UserIdentity(auto_user=USER),
    )
    if batch_result(copied) != "success":
        return f"not copied: {batch_result(copied)}"
    used = await bench.run('"$AZ_BATCH_NODE_SHARED_DIR/bin/ffmpeg"')
    return f"{batch_result(used)}; {(await bench.stdout(used)).strip()}"
