"""Tokens of Microsoft Entra ID, checked as Azure Batch checks them."""

from collections.abc import Mapping
from datetime import datetime

from local_azure.batch.error_codes import BatchError
from local_azure.batch.shared_key import denied
from local_azure.directory import BATCH, BadToken, Directory, token_of


def verify(
    headers: Mapping[str, str],
    *,
    directory: Directory,
    has_roles: bool,
    url: str,
    now: datetime,
) -> None:
    """Check that the request has a token of a bearer that can use the account.

    A missing role is AuthorizationFailure: Azure/BatchExplorer #2203.

    Raises:
        BatchError: AuthenticationFailed or AuthorizationFailure.
    """
    try:
        token = token_of(headers.get("authorization"))
        bearer = directory.check(token, resource=BATCH, now=now)
    except BadToken as error:
        raise unauthorized(str(error), directory=directory, url=url) from None
    if not (directory.has_role(bearer) and has_roles):
        raise BatchError("AuthorizationFailure", PrincipalId=bearer)


def unauthorized(detail: str, *, directory: Directory, url: str) -> BatchError:
    """Return a 401 that says where to get a token. Its code is the same as for signatures (403)."""
    error = denied(detail)
    error.status = 401
    place = f'authorization_uri="{url}/{directory.tenant}", resource_id="{BATCH}"'
    error.headers = {"WWW-Authenticate": f'Bearer {place}, error="invalid_token"'}
    return error
