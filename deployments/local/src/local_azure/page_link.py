"""The link to the live page, with the secret that opens it."""

import base64
import hashlib
import hmac

SECRET_BYTES = 24
PURPOSE = b"the live page of local-azure"


def page_secret(account_key: bytes) -> str:
    """Derive the page's secret from the account's key. It stays the same after a restart."""
    digest = hmac.digest(account_key, PURPOSE, hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:SECRET_BYTES]).decode()


def page_link(batch_url: str, account_key: str) -> str:
    """Return the link. Browsers do not send what follows the `#`, so that no log can contain it."""
    return f"{batch_url}/_local/#{page_secret(base64.b64decode(account_key))}"
