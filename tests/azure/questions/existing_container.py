"""What is answered to the creation of a container that is there, of which one has the role alone?

Runs make their containers where they are missing; whoever runs them may have no right to others.
"""

from bench import Bench, refusal

WANTED = "409 ContainerAlreadyExists"


async def ask(bench: Bench) -> str:
    return await refusal(bench.container.create_container())
