"""Is an environment setting with an empty value set?

`PICTURE` is empty if the output has no pictures. The runner accepts both.
"""

from azure.batch.models import EnvironmentSetting

from bench import Bench

WANTED = "set"


async def ask(bench: Bench) -> str:
    given = [EnvironmentSetting(name="GIVEN", value="")]
    return (
        await bench.stdout(await bench.run('printf %s "${GIVEN+set}"', environment_settings=given))
        or "not set"
    )
