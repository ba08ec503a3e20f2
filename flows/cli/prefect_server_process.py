"""Prefect's server, for a process of its own: `python -m ….prefect_server_process HOST PORT`.

It is what `python -m uvicorn --factory prefect.server.api.server:create_app` runs, and starts in
three quarters of the CPU time.
"""

import gc
import sys

STOP_SECONDS = 2  # what open requests are given to end


def main(host: str, port: int) -> None:
    """Serve until a signal comes."""
    gc.disable()  # a quarter of the time of these imports went into looking for garbage
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app()
    gc.freeze()  # nor need it ever be looked at again
    gc.enable()
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
