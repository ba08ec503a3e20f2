"""The certificate of a stack with TLS, and the bundle that makes clients trust it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import certifi
import trustme
from cryptography import x509

from local_azure.folder import write_privately

NAMES = ("127.0.0.1", "localhost")
LIFETIME = timedelta(days=2 * 365)
LEAST_LEFT = timedelta(days=365)  # when a stack starts: it may run for a long time
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""The variables that name a bundle: for Python's ssl, aiohttp and httpx, and for requests."""
ADDITION = "NODE_EXTRA_CA_CERTS"
"""The variable that names what Node.js trusts in addition to its own authorities."""


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate, in PEM format."""

    chain: Path
    key: Path
    bundle: Path
    """The authority that signed the certificate, and all that clients trust anyway."""


def make_certificate(folder: Path, *, now: datetime) -> Certificate:
    """Return the certificate in `folder`; make it at its first use, and again before it expires.

    The authority's key is not kept, so that no other certificate can be signed with it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "bundle.pem")
    authority = folder / "authority.pem"
    if not is_lasting(made.chain, now):
        signer = trustme.CA()
        begins, ends = now - timedelta(days=1), now + LIFETIME
        leaf = signer.issue_cert(*NAMES, not_before=begins, not_after=ends)
        write_privately(authority, signer.cert_pem.bytes())
        write_privately(made.key, leaf.private_key_pem.bytes())
        write_privately(made.chain, b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    files = [*trusted_anyway(made.bundle), authority]
    write_privately(made.bundle, b"\n".join(file.read_bytes() for file in files))
    return made


def is_lasting(chain: Path, now: datetime) -> bool:
    """Return whether a certificate exists and does not expire soon."""
    if not chain.exists():
        return False
    ends = x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc
    return ends - now >= LEAST_LEFT


def trusted_anyway(bundle: Path) -> list[Path]:
    """Return the user's own bundle or the default of clients, then the user's addition to it.

    A variable that names `bundle` itself is ignored.
    """
    own = [*_named(VARIABLES, bundle), Path(certifi.where())]
    return [own[0], *_named((ADDITION,), bundle)]


def _named(variables: Iterable[str], bundle: Path) -> list[Path]:
    """Return the files that environment variables name, except `bundle`."""
    files = [Path(name) for variable in variables if (name := os.environ.get(variable))]
    return [file for file in files if file != bundle and file.is_file()]
