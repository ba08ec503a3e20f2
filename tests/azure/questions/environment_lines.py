"""Does an environment setting arrive as it was given: lines, quotes, dollars, percents?

The runner takes ffmpeg's arguments from one, a line each.
"""

from azure.batch.models import EnvironmentSetting

from bench import Bench

WANTED = "as given"
VALUE = "-af\nvolume=2\n\n'a b' \"c\" $HOME ${PATH} %PATH% \\d\té"


async def ask(bench: Bench) -> str:
    given = [EnvironmentSetting(name="GIVEN", value=VALUE)]
    found = await bench.stdout(await bench.run('printf %s "$GIVEN"', environment_settings=given))
    return "as given" if found == VALUE else repr(found)
