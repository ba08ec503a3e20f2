"""How does a batch task end whose resource file has a bad signature?"""

from azure.batch.models import ResourceFile

from bench import Bench, batch_result

WANTED = "BlobAccessDenied, exit code None"


async def ask(bench: Bench) -> str:
    file = await bench.resource("content", path="input", name="first")
    other = await bench.resource("content", path="input", name="second")
    token = str(other.http_url).partition("?")[2]
    url = f"{str(file.http_url).partition('?')[0]}?{token}"
    return batch_result(
        await bench.run(resource_files=[ResourceFile(http_url=url, file_path="input")])
    )
