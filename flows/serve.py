"""Serve the deployments of a work pool from this process, without a worker.

python flows/serve.py POOL [--prefect-file FILE]
"""

from flows.cli.command import main
from flows.cli.served_deployments import app

if __name__ == "__main__":
    raise SystemExit(main(app))
