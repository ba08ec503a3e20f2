"""The signals that end a command, and what it prints about each."""

import signal

EXIT_SIGNALS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
    signal.SIGQUIT: "quit",
}


def is_ignored(number: int) -> bool:
    """Return whether the parent ignores it: a shell SIGINT for background jobs, nohup SIGHUP."""
    return signal.getsignal(number) == signal.SIG_IGN
