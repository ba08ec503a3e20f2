"""Does an environment setting keep line breaks, quotes, dollar and percent signs?

The runner reads ffmpeg's arguments from one setting, one argument per line.
"""

from azure.batch.models import EnvironmentSetting

from bench import Bench

WANTED = "unchanged"
VALUE = "-af\nvolume=2\n\n'a b' \"c\" $HOME ${PATH} %PATH% \\d\té"


async def ask(bench: Bench) -> str:
    given = [EnvironmentSetting(name="GIVEN", value=VALUE)]
    found = await bench.stdout(await bench.run('printf %s "$GIVEN"', environment_settings=given))
    return "unchanged" if found == VALUE else repr(found)
