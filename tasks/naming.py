"""Names of outputs, keys and everything that a run creates. Pure functions.

Paths are text here. pathlib interns each part of each path in a table that never shrinks, and
takes twice the time.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, unquote

from tasks.media.presets import Preset

OWNER = "batch-convert"  # marks everything that runs create
OWN = {"owner": OWNER}  # the same as metadata of a blob or a container
LONGEST_CONTAINER = 63  # characters in the name of a container
MEMORY = "-failures"
LOGS = "-logs"
LOCKS = ".batch-convert-locks/"  # the folder of all locks in an output container


def conversion_key(content: str, output: str, preset: Preset) -> str:
    """Return a hash of everything that determines what an output contains.

    The version of the preset stands for rules that are not in its arguments: those for single
    sources in source_arguments.py, and those of runner.sh. Keys of version 1 do not contain their
    version.
    """
    version = () if preset.version == 1 else (f"version {preset.version}",)
    text = "\0".join((content, output, *version, *preset.arguments, *preset.choices.words))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def batch_task_id(key: str, attempt: int) -> str:
    return f"{key}-{attempt}"


def key_and_attempt(batch_task: str) -> tuple[str, int]:
    key, _, attempt = batch_task.rpartition("-")
    return key, int(attempt)


def job_id(run_id: str, *, run_count: int) -> str:
    """Return the id of a run's job and pool. A retry of the same Prefect run gets a new id."""
    return f"convert-{run_count}-{run_id}"


def lock_id(container: str, prefix: str) -> str:
    """Return an id that is the same for all runs into one output, on any machine."""
    return hashlib.sha256(f"{container}/{prefix.strip('/')}".encode()).hexdigest()[:16]


def is_own(metadata: Mapping[str, str] | None) -> bool:
    """Return whether a run created the blob. A name alone proves nothing."""
    return (metadata or {}).get("owner") == OWNER


def lock_blob(lock: str) -> str:
    """Return the lock's name in the output container. No output has it: outputs have suffixes."""
    return f"{LOCKS}{lock}"


def record_blob(lock: str) -> str:
    """Return the name of the blob that says, beside the uploads, which run they belong to.

    In earlier versions, this blob was the lock. For one release, runs hold a lease on it too.
    """
    return f"{lock}/lock"


def is_reserved(name: str) -> bool:
    """Return whether a blob of an output container is a lock and not an output."""
    return name.startswith(LOCKS)


def prefix_tag(prefix: str) -> dict[str, str]:
    """Return the metadata of a lock that says which folder of the container it locks."""
    return {"prefix": quote(prefix.strip("/"))}


def read_prefix(metadata: Mapping[str, str]) -> str | None:
    """Return the folder that a lock names. None: it names none, as the one that a sweep makes."""
    return unquote(metadata["prefix"]) if "prefix" in metadata else None


def input_blob(lock: str, name: str) -> str:
    """Return the blob of an upload. `name` is as in input_name."""
    return f"{lock}/inputs/{name}"


def input_name(content: str, excerpt: str = "") -> str:
    """Return the name of an upload: the content of its source, and what is sent of it."""
    return f"{content}-{excerpt}" if excerpt else content


def runner_version(script: bytes) -> str:
    return hashlib.sha256(script).hexdigest()[:16]


def runner_blob(lock: str, script: bytes) -> str:
    return f"{lock}/runner-{runner_version(script)}.sh"


def memory_container(container: str) -> str:
    """Return where failures are remembered."""
    return _beside(container, MEMORY)


def log_container(container: str) -> str:
    """Return where nodes write logs and markers. They cannot write to `container` itself."""
    return _beside(container, LOGS)


def _beside(container: str, suffix: str) -> str:
    return f"{container[: LONGEST_CONTAINER - len(suffix)].rstrip('-')}{suffix}"


def memory_blob(lock: str) -> str:
    return f"{lock}.json"


def log_folder(lock: str, run_id: str) -> str:
    return f"{lock}/{run_id}/"


def log_name(batch_task: str, secret: str) -> str:
    """Return the name of a batch task's folder among the logs of its run.

    Nodes may write to the whole container of logs, but cannot list it. So each must not be able to
    guess the names of the others' folders.
    """
    proof = hmac.digest(secret.encode(), batch_task.encode(), "sha256").hex()[:32]
    return f"{batch_task}-{proof}"


def logged_task(name: str, secret: str) -> str | None:
    """Return the batch task whose folder has this name. None: a node invented the name."""
    batch_task = name.rpartition("-")[0]
    return batch_task if name == log_name(batch_task, secret) else None
