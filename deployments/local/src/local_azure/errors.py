"""What can go wrong with the local stack, and with which exit status it ends."""


class StackError(Exception):
    """The local stack cannot start, or did not live on; the message says what to do."""

    exit_status = 1


class StackUsageError(StackError):
    """What was asked for cannot be: another port, folder or file has to be named."""

    exit_status = 2
