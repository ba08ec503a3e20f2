"""`local-azure`: Azure on this machine, in the foreground, until Ctrl-C."""

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
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from local_azure import env_file
from local_azure.azurite import MISSING_ROLES, Azurite, last_words, running_azurite
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

    from local_azure.http_server import HttpServer

BATCH_PORT = 10100
BLOB_PORT = 10000
MAX_PORT = 65535
NODES_PER_CORE = 4  # with one slot each: Batch allows four slots per core


class Stopped(SystemExit):
    """A signal came."""


def stop(number: int, _frame: object) -> None:
    """Unwind the stack once; later signals must not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stack until a signal comes, and return the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        run(options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command prints
        return error.exit_status
    except OSError as error:  # a full disk, a read-only cache folder, …
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command prints
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local-azure",
        description="Run Azurite (blobs) and the local Batch service on this machine."
        " It prints the settings for clients, and LOCAL_AZURE_PAGE, the link to a live page.",
    )
    add = parser.add_argument
    add(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="also write the settings to FILE; FILE is deleted at the end; a file of yours is never"
        " overwritten",
    )
    add_port(parser, "--batch-port", server="the Batch service", default=BATCH_PORT)
    add_port(parser, "--blob-port", server="Azurite", default=BLOB_PORT)
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder for blobs, keys and logs; one stack per folder [default: in your data folder]",
    )
    add(
        "--nodes",
        type=node_count,
        metavar="N",
        default=NODES_PER_CORE * (os.cpu_count() or 1),
        help="maximum number of nodes in all pools together [default: %(default)s]",
    )
    add(
        "--tls",
        action="store_true",
        help="serve over TLS; clients sign in with Microsoft Entra ID instead of account keys",
    )
    add(
        "--no-storage",
        action="store_true",
        help="run the Batch service alone, without Azurite; Node.js is not needed",
    )
    add("--version", action="version", version=f"%(prog)s {version('local-azure')}")
    # For a command that starts a stack of its own: see stack.py.
    add("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add("--lock-descriptor", type=int, help=argparse.SUPPRESS)
    return parser


def add_port(parser: argparse.ArgumentParser, flag: str, *, server: str, default: int) -> None:
    help_text = f"port of {server}; 0: any free one [default: {default} or any free one]"
    parser.add_argument(flag, type=port_number, metavar="N", help=help_text)


def port_number(word: str) -> int:
    if not word.isdecimal() or int(word) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{word} is not a port: use a number from 0 to {MAX_PORT}")
    return int(word)


def node_count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is not a number of nodes: use 1 or more")
    return int(word)


def run(options: argparse.Namespace) -> None:
    """Start both servers, announce them, and serve until a signal comes or Azurite ends.

    Raises:
        StackError: An option cannot be met, or a server does not start or ends early.
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
        azurite = parts.enter_context(storage(options, folder, security))
        # The rest is imported while Azurite starts.
        app = batch_service(folder, nodes=options.nodes, security=security)
        batch_url = "{}://{}:{}".format("https" if security else "http", *listener.getsockname())
        blob_url = azurite.wait() if azurite else None
        settings = (
            with_sign_in(folder, security, batch_url=batch_url, blob_url=blob_url)
            if security
            else with_keys(folder, batch_url=batch_url, blob_url=blob_url)
        )
        from local_azure.http_server import HttpServer

        server = HttpServer(
            app,
            certificate=security.certificate if security else None,
            announcement=published(settings, env_files),
            alive=azurite.is_alive if azurite else lambda: True,
        )
        serve(server, listener, azurite)


def storage(
    options: argparse.Namespace, folder: DataFolder, security: Security | None
) -> AbstractContextManager[Azurite | None]:
    """Return a running Azurite, or nothing with `--no-storage`."""
    if options.no_storage:
        return nullcontext()
    return running_azurite(
        account=STORAGE_ACCOUNT,
        key=folder.key(STORAGE_ACCOUNT),
        port=chosen_port(options.blob_port, BLOB_PORT),
        location=folder.path / "azurite",
        log=folder.log("azurite"),
        certificate=security.certificate if security else None,
        missing_roles=folder.path / "batch" / MISSING_ROLES,
    )


def chosen_port(asked: int | None, default: int) -> int:
    """Return the port that was asked for, or the default if it is free, or 0."""
    return preferred_port(default) if asked is None else free_port(asked)


def batch_service(folder: DataFolder, *, nodes: int, security: Security | None) -> "ASGIApp":
    """Make the local Batch service, and delete the nodes that a killed one has left.

    With TLS, Entra ID and Resource Manager are at the same address.
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


def serve(server: "HttpServer", listener: socket.socket, azurite: Azurite | None) -> None:
    """Serve until a signal comes or Azurite ends.

    Raises:
        StackError: Azurite ended.
    """
    try:
        server.run(sockets=[listener])
    except Stopped:  # uvicorn raises the signal that stopped it again
        if not server.started:
            raise
    if azurite and not azurite.is_alive():
        remedy = f"Start the stack again. Azurite's log: {last_words(azurite.log)}"
        raise StackError("Azurite ended.", remedy)


def end_when_unused(folder: DataFolder) -> None:
    """End this process when the command that started it, and all others that use it, are gone."""
    wait_for_eof()
    users = Lock.at(folder.users)
    if not users.try_exclude():
        with contextlib.suppress(OSError):
            os.write(1, f"{STAYING}\n".encode())
        users.exclude()
    # The lock is held until this process ends: a new command waits, then starts another stack.
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def holding(folder: DataFolder, descriptor: int | None) -> Iterator[None]:
    """Hold the data folder's lock, which the command that started this process may hold already.

    Raises:
        StackUsageError: Another stack runs on this folder.
    """
    lock = Lock.at(folder.lock) if descriptor is None else Lock(descriptor)
    if not lock.try_exclude():
        lock.close()
        raise StackUsageError(
            f"A stack already runs on {folder.path}. Its settings are in {folder.settings}.",
            "Use or stop that stack, or choose another folder with --data.",
        )
    try:
        folder.settings.unlink(missing_ok=True)
        yield
    finally:
        lock.close()


@contextmanager
def published(settings: Mapping[str, str], env_files: Sequence[Path]) -> Iterator[None]:
    """Write the settings to files and to stdout; delete the files at the end."""
    try:
        for path in env_files:
            env_file.write(path, settings)
        print(env_file.text(settings) + READY, flush=True)  # noqa: T201  a command prints
        yield
    finally:
        for path in env_files:
            env_file.remove(path, settings)


if __name__ == "__main__":
    sys.exit(main())
