"""What does storage answer if the container to create exists, and one may access only that one?

A run creates the containers that are missing. Its user may have a role for these alone.
"""

from bench import Bench, refusal

WANTED = "409 ContainerAlreadyExists"


async def ask(bench: Bench) -> str:
    return await refusal(bench.container.create_container())
