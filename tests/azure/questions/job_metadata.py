"""Does a job accept metadata of 2,000 characters?"""

from azure.batch.models import BatchMetadataItem

from bench import Bench, refusal

WANTED = "accepted"


async def ask(bench: Bench) -> str:
    return await refusal(bench.job(metadata=[BatchMetadataItem(name="long", value="x" * 2000)]))
