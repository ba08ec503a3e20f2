"""`python -m local_azure`: Azure on this machine, in the foreground, until Ctrl-C."""

import argparse
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local_azure import env_file
from local_azure.azurite import Azurite, last_words, running_azurite
from local_azure.child import wait_for_eof
from local_azure.errors import StackError, StackUsageError
from local_azure.ffmpeg import node_path
from local_azure.folder import DataFolder
from local_azure.locks import Lock
from local_azure.ports import free_port, listen, preferred_port
from local_azure.settings import (
    BATCH_ACCOUNT,
    STORAGE_ACCOUNT,
    Security,
    with_keys,
    with_sign_in,
)
from local_azure.stack import READY, STAYING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from local_azure.service import Service

BATCH_PORT = 10100
BLOB_PORT = 10000
MAX_PORT = 65535


class Stopped(SystemExit):
    """A signal came."""


def stop(number: int, _frame: object) -> None:
    """Unwind, once: what is being ended is not to be ended again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stack until it is told to stop; the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        run(options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its own words
        return error.exit_status
    except OSError as error:  # a full disk, a cache folder that cannot be written, …
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its own words
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local_azure",
        description="Azure on this machine: Azurite for blobs, and the local Batch service.",
    )
    add = parser.add_argument
    add(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="write the settings here too; never over a file of yours, and gone when it stops",
    )
    add(
        "--batch-port",
        type=port_number,
        metavar="N",
        help=f"of the Batch service; 0: a free one [{BATCH_PORT}, or a free one if it is taken]",
    )
    add(
        "--blob-port",
        type=port_number,
        metavar="N",
        help=f"of Azurite; 0: a free one [{BLOB_PORT}, or a free one if it is taken]",
    )
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep blobs and keys here; one stack a folder [in the user's data folder]",
    )
    add(
        "--nodes",
        type=node_count,
        metavar="N",
        default=max(1, (os.cpu_count() or 1) // 2),
        help="how many nodes all pools may have together: the account's quota [%(default)s]",
    )
    add(
        "--tls",
        action="store_true",
        help="serve over TLS with a certificate of its own, and have clients sign in as to Azure:"
        " by Microsoft Entra ID, without keys",
    )
    # For the command that starts a stack of its own: see stack.py.
    add("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add("--lock-descriptor", type=int, help=argparse.SUPPRESS)
    return parser


def port_number(word: str) -> int:
    """A port, or 0."""
    if not 0 <= int(word) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{word} is no port: take one of 0 to {MAX_PORT}")
    return int(word)


def node_count(word: str) -> int:
    """A positive number."""
    if int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is too few: take 1 or more")
    return int(word)


def run(options: argparse.Namespace) -> None:
    """Start both parts, say so, and serve until a signal comes or Azurite ends.

    Raises:
        StackError: What was asked for cannot be, or a part does not start or live on.
    """
    folder = DataFolder.at(options.data)
    env_files = [folder.settings, *([options.env_file.absolute()] if options.env_file else [])]
    with ExitStack() as parts:
        parts.enter_context(holding(folder, options.lock_descriptor))
        for path in env_files:
            env_file.check(path)
            env_file.check_unused(path)
        if options.until_stdin_closes:
            threading.Thread(target=end_when_unused, args=(folder,), daemon=True).start()
        listener = parts.enter_context(listen(chosen_port(options.batch_port, BATCH_PORT)))
        security = Security.of(folder) if options.tls else None
        azurite = parts.enter_context(
            running_azurite(
                account=STORAGE_ACCOUNT,
                key=folder.key(STORAGE_ACCOUNT),
                port=chosen_port(options.blob_port, BLOB_PORT),
                location=folder.path / "azurite",
                log=folder.log("azurite"),
                certificate=security.certificate if security else None,
            )
        )
        app = batch_service(folder, nodes=options.nodes, security=security)  # as Azurite starts
        batch_url = "{}://{}:{}".format("https" if security else "http", *listener.getsockname())
        urls = {"batch_url": batch_url, "blob_url": azurite.wait()}
        settings = with_sign_in(security, **urls) if security else with_keys(folder, **urls)
        from local_azure.service import Service  # imported while Azurite starts, as the above

        service = Service(
            app,
            certificate=security.certificate if security else None,
            announcement=published(settings, env_files),
            alive=azurite.is_alive,
        )
        serve(service, listener, azurite)


def chosen_port(asked: int | None, default: int) -> int:
    """The port that was asked for, which must be free; else the default, or any if it is taken."""
    return preferred_port(default) if asked is None else free_port(asked)


def batch_service(folder: DataFolder, *, nodes: int, security: Security | None) -> "ASGIApp":
    """The local Batch service, without the nodes of one that was killed.

    Over TLS, Entra ID and Resource Manager are at its address too.
    """
    from local_azure.batch import create_app

    shutil.rmtree(folder.path / "batch", ignore_errors=True)
    app = create_app(
        account=BATCH_ACCOUNT,
        key=folder.key(BATCH_ACCOUNT),
        data=folder.path / "batch",
        max_nodes=nodes,
        node_path=node_path(folder.path / "bin"),
        directory=security.directory if security else None,
        bundle=security.certificate.bundle if security else None,
    )
    if security is None:
        return app
    from local_azure import entra, management

    service, directory = app.state.service, security.directory
    managed = management.create_app(service, directory=directory, otherwise=app)
    return entra.create_app(directory, flaw_of=service.faults.token_flaw, otherwise=managed)


def serve(service: "Service", listener: socket.socket, azurite: Azurite) -> None:
    """Run the service until a signal comes or Azurite ends.

    Raises:
        StackError: Azurite ended.
    """
    try:
        service.run(sockets=[listener])
    except Stopped:  # uvicorn raises the signal that stopped it again
        if not service.started:
            raise
    if not azurite.is_alive():
        raise StackError(f"Azurite ended. Its last words: {last_words(azurite.log)}")


def end_when_unused(folder: DataFolder) -> None:
    """When the command that started us has gone, and no other uses the stack, end this process."""
    wait_for_eof()
    users = Lock.at(folder.users)
    if not users.try_exclude():
        with contextlib.suppress(OSError):
            os.write(1, f"{STAYING}\n".encode())
        users.exclude()
    # Held until we are gone: who comes now waits, and starts another.
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def holding(folder: DataFolder, descriptor: int | None) -> Iterator[None]:
    """Hold the data folder's lock, which the command that started us may hold already.

    Raises:
        StackUsageError: Another stack runs on this folder.
    """
    lock = Lock.at(folder.lock) if descriptor is None else Lock(descriptor)
    if not lock.try_exclude():
        lock.close()
        message = (
            f"A stack runs on {folder.path} already, with the settings in {folder.settings}: "
            "use it, stop it, or name another folder with --data."
        )
        raise StackUsageError(message)
    try:
        folder.settings.unlink(missing_ok=True)
        yield
    finally:
        lock.close()


@contextmanager
def published(settings: Mapping[str, str], env_files: Sequence[Path]) -> Iterator[None]:
    """Write the settings into files, and print them; remove the files at the end."""
    try:
        for path in env_files:
            env_file.write(path, settings)
        print(env_file.text(settings) + READY, flush=True)  # noqa: T201 - its own words
        yield
    finally:
        for path in env_files:
            env_file.remove(path, settings)


if __name__ == "__main__":
    sys.exit(main())
