"""The local Batch service: Azure Batch's REST API over processes of this machine."""

from local_azure.batch.app import create_app

__all__ = ["create_app"]
