"""Azurite, Microsoft's storage emulator: installs it once, and runs it as a child process."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from platformdirs import user_cache_path

from local_azure.child import start_child, stop_child
from local_azure.errors import StackError
from local_azure.locks import excluding
from local_azure.nodejs import NodeJs, find_nodejs

if TYPE_CHECKING:
    from local_azure.certificate import Certificate

PACKAGE = Path(__file__).with_name("package.json")
PACKAGE_LOCK = Path(__file__).with_name("package-lock.json")
PATCHES = Path(__file__).with_name("azurite_patches")  # each file says why
INDEXES = PATCHES / "indexes.js"
SAVES = PATCHES / "saves.js"
LISTINGS = PATCHES / "listings.js"
TRANSFERS = PATCHES / "transfers.js"
ROLES = PATCHES / "roles.js"
NO_TELEMETRY = Path(__file__).with_name("no-telemetry")  # a package in the lock file
MISSING_ROLES = ".missing-roles"  # a file of the Batch service; no pool's folder has a dot
PROGRAM = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
START_SECONDS = 120  # reading its thousands of files from a cold disk took 32 s
STOP_SECONDS = 15  # it saves its database first, which takes long with many blobs
NPM_CI = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


@dataclass(frozen=True)
class Azurite:
    """An Azurite process and its log file."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> str:
        """Return the address that Azurite listens on, without a slash at the end.

        Raises:
            StackError: Azurite does not start.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = not self.is_alive()
            if match := re.search(
                r"successfully listens on (https?://\S+)\n", self.log.read_text()
            ):
                return match[1]
            if ended:
                raise StackError("Azurite did not start.", f"Its log: {last_words(self.log)}")
            time.sleep(0.02)
        raise StackError(
            f"Azurite did not start within {START_SECONDS} s.", f"See {self.log}, and try again."
        )

    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def running_azurite(  # noqa: PLR0913  the properties of an account
    *,
    account: str,
    key: str,
    port: int,
    location: Path,
    log: Path,
    certificate: "Certificate | None" = None,
    missing_roles: Path | None = None,
) -> Iterator[Azurite]:
    """Run Azurite with one account on loopback, with its blobs in `location`. Port 0: any free one.

    It may still be starting: see `Azurite.wait`. With a certificate it also accepts tokens, and
    checks all of a token except its signature. While the file `missing_roles` exists, it refuses
    tokens.

    Raises:
        StackError: Azurite cannot be installed.
    """
    nodejs = find_nodejs()
    program = installed(nodejs)
    location.mkdir(exist_ok=True)
    with log.open("wb") as file:
        process = start_child(
            [*command(nodejs.node, program, port=port, location=location), *tls(certificate)],
            log=file,
            folder=location,
            environment=environment(account, key, program)
            | {"LOCAL_AZURE_MISSING_ROLES": str(missing_roles or "")},
            grace_seconds=STOP_SECONDS,
        )
    try:
        yield Azurite(process, log)
    finally:
        stop_child(process)


def command(node: Path, program: Path, *, port: int, location: Path) -> list[str | Path]:
    """Return the command line. The key is in the environment, which other users cannot see."""
    address = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    flags = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    patches = (f"--require={patch}" for patch in (INDEXES, SAVES, LISTINGS, TRANSFERS, ROLES))
    return [node, *patches, program, "--location", location, *address, *flags]


def tls(certificate: "Certificate | None") -> list[str | Path]:
    """Return the flags for TLS, if there is a certificate."""
    if certificate is None:
        return []
    return ["--oauth", "basic", "--cert", certificate.chain, "--key", certificate.key]


def environment(account: str, key: str, program: Path) -> dict[str, str]:
    """Return this process's environment with the account, without other settings of Azurite."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")}
    compiled = program.parents[len(PROGRAM.parts) - 1] / "compiled"
    # Node.js 22 starts Azurite faster from this cache of compiled code. Node.js 20 ignores it.
    return {"NODE_COMPILE_CACHE": str(compiled), **kept, "AZURITE_ACCOUNTS": f"{account}:{key}"}


def last_words(log: Path, *, lines: int = 3) -> str:
    """Return the last lines of a log as one line."""
    printed = log.read_text(errors="replace").splitlines()
    words = [line.removeprefix("npm error").strip() for line in printed]
    return " / ".join([line for line in words if line][-lines:]) or "none"


def installed(nodejs: NodeJs) -> Path:
    """Return Azurite's program in the user's cache folder, and install it there if missing.

    Raises:
        StackError: npm cannot install it.
    """
    folder = install_folder()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with excluding(folder.parent / "lock"):
            if not folder.exists():
                install(folder, nodejs.npm)
    return folder / PROGRAM


def install_folder() -> Path:
    """Return the folder of the version in the lock file. Each lock file has its own folder."""
    digest = hashlib.sha256(PACKAGE_LOCK.read_bytes()).hexdigest()[:12]
    return user_cache_path("batch-convert", appauthor=False) / "azurite" / digest


def install(folder: Path, npm: Sequence[str | Path]) -> None:
    """Install into a temporary folder and rename it, so that `folder` is always complete."""
    version = json.loads(PACKAGE.read_bytes())["dependencies"]["azurite"]
    print(  # noqa: T201  explains why the first start takes long
        f"Installing Azurite {version} into {folder} (once; about 20 s, 130 MB) …", flush=True
    )
    for leftover in folder.parent.glob("*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, suffix=".part"))
    try:
        for file in (PACKAGE, PACKAGE_LOCK):
            shutil.copyfile(file, part / file.name)
        shutil.copytree(NO_TELEMETRY, part / NO_TELEMETRY.name)
        run_npm(npm, part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def run_npm(npm: Sequence[str | Path], folder: Path) -> None:
    """Install the packages in `folder`'s lock file, with the user's npm configuration."""
    with tempfile.NamedTemporaryFile() as log:
        status = run_to_end([*npm, *NPM_CI], folder=folder, log=log.file)
        if status:
            raise StackError(
                "npm could not install Azurite.",
                "Check the internet connection and npm's settings (~/.npmrc), and try again. Behind"
                " a proxy with its own certificate authority, set NODE_EXTRA_CA_CERTS to its file. "
                f"npm's output: {last_words(Path(log.name), lines=12)}",
            )


def run_to_end(command: Sequence[str | Path], *, folder: Path, log: IO[bytes]) -> int:
    """Run the command, and end it if this process is interrupted."""
    child = start_child(command, log=log, folder=folder, environment=os.environ, grace_seconds=0.5)
    try:
        return child.wait()
    finally:
        stop_child(child)
