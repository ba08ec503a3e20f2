"""Azurite, Microsoft's storage emulator: installed once, and run as a child process."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
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
LOKI_INDEXES = Path(__file__).with_name("loki-indexes.js")
LOKI_SAVES = Path(__file__).with_name("loki-saves.js")
LISTINGS = Path(__file__).with_name("azurite-listings.js")
TRANSFERS = Path(__file__).with_name("azurite-transfers.js")
MENDS = (LOKI_INDEXES, LOKI_SAVES, LISTINGS, TRANSFERS)
NO_TELEMETRY = Path(__file__).with_name("no-telemetry")  # a package that the lock file names
PROGRAM = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
START_SECONDS = 120  # a cold disk reads its thousands of files slowly: 32 s have been seen
STOP_SECONDS = 15  # it saves what it has not saved yet: many blobs take a while
NPM_CI = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


@dataclass(frozen=True)
class Azurite:
    """An Azurite process, and what it prints into."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> str:
        """The address that it says it listens on, without a slash at the end.

        Raises:
            StackError: It does not start; with its last words.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = not self.is_alive()
            if match := re.search(
                r"successfully listens on (https?://\S+)\n", self.log.read_text()
            ):
                return match[1]
            if ended:
                raise StackError(f"Azurite did not start. Its last words: {last_words(self.log)}")
            time.sleep(0.02)
        message = f"Azurite did not answer within {START_SECONDS} s: see {self.log}, and try again."
        raise StackError(message)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None


@contextmanager
def running_azurite(  # noqa: PLR0913 - what makes an account
    *,
    account: str,
    key: str,
    port: int,
    location: Path,
    log: Path,
    certificate: "Certificate | None" = None,
) -> Iterator[Azurite]:
    """Azurite with one account, on loopback, its blobs kept in `location`; port 0 is any free one.

    It is still starting at first. With a certificate it takes tokens too, of which it checks all
    but the signature.

    Raises:
        StackError: It cannot be installed.
    """
    nodejs = find_nodejs()
    program = installed(nodejs)
    location.mkdir(exist_ok=True)
    with log.open("wb") as file:
        process = start_child(
            [*command(nodejs.node, program, port=port, location=location), *tls(certificate)],
            log=file,
            folder=location,
            environment=environment(account, key, program),
            grace_seconds=STOP_SECONDS,
        )
    try:
        yield Azurite(process, log)
    finally:
        stop_child(process)


def command(node: Path, program: Path, *, port: int, location: Path) -> list[str | Path]:
    """The command line; the key is in the environment, which other users cannot see."""
    address = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    flags = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    mends = (f"--require={mend}" for mend in MENDS)
    return [node, *mends, program, "--location", location, *address, *flags]


def tls(certificate: "Certificate | None") -> list[str | Path]:
    """The flags to serve over TLS, where there is a certificate."""
    if certificate is None:
        return []
    return ["--oauth", "basic", "--cert", certificate.chain, "--key", certificate.key]


def environment(account: str, key: str, program: Path) -> Mapping[str, str]:
    """This process's, without what would make Azurite store elsewhere or know other accounts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")}
    compiled = program.parents[len(PROGRAM.parts) - 1] / "compiled"
    # Node.js 22 starts Azurite quicker from what it compiled before; 20 ignores this.
    return {"NODE_COMPILE_CACHE": str(compiled), **kept, "AZURITE_ACCOUNTS": f"{account}:{key}"}


def last_words(log: Path, *, lines: int = 3) -> str:
    """The end of what a program printed, in one line."""
    printed = log.read_text(errors="replace").splitlines()
    words = [line.removeprefix("npm error").strip() for line in printed]
    return " / ".join([line for line in words if line][-lines:]) or "none"


def installed(nodejs: NodeJs) -> Path:
    """Azurite's program in the user's cache folder, installed there where it is missing.

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
    """Where the version of the lock file is; another lock file, another folder."""
    digest = hashlib.sha256(PACKAGE_LOCK.read_bytes()).hexdigest()[:12]
    return user_cache_path("batch-convert", appauthor=False) / "azurite" / digest


def install(folder: Path, npm: Sequence[str | Path]) -> None:
    """Install into a folder beside, and rename: what bears the name is whole."""
    version = json.loads(PACKAGE.read_bytes())["dependencies"]["azurite"]
    print(  # noqa: T201 - the one line that tells why the first start takes long
        f"Installing Azurite {version} into {folder} (once; some 20 s, 130 MB)", flush=True
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
    """Install what the lock file in `folder` names, as the user's npm is configured."""
    with tempfile.NamedTemporaryFile() as log:
        status = run_to_end([*npm, *NPM_CI], folder=folder, log=log.file)
        if status:
            message = (
                "Azurite could not be installed. It comes from npm's registry, once: check the "
                "connection and `npm config get registry`, and try again. "
                f"npm's last words: {last_words(Path(log.name), lines=12)}"
            )
            raise StackError(message)


def run_to_end(command: Sequence[str | Path], *, folder: Path, log: IO[bytes]) -> int:
    """Run the command; it ends with us, should we be interrupted."""
    child = start_child(command, log=log, folder=folder, environment=os.environ, grace_seconds=0.5)
    try:
        return child.wait()
    finally:
        stop_child(child)
