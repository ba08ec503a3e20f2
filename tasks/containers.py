"""The blob containers for uploads and outputs."""

import logging

from azure.core.exceptions import ResourceExistsError

from tasks.azure.api_errors import has_code
from tasks.azure.clients import blob_service
from tasks.naming import OWN
from tasks.stage import stage

logger = logging.getLogger(__name__)


@stage("containers")
async def make_containers(*names: str) -> None:
    """Create the missing containers. Existing ones are used, and none is ever deleted."""
    async with blob_service() as service:
        for name in names:
            try:
                await service.create_container(name, metadata=OWN)
                logger.info("Created the container %s", name)
            except ResourceExistsError as error:
                if not has_code(error, "ContainerAlreadyExists"):
                    raise  # it is being deleted
                logger.debug("The container %s already exists", name)
