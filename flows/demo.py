"""Show everything at work on this machine, with nothing set up.

python flows/demo.py [--data DIR]
"""

from flows.cli.command import main
from flows.cli.demonstration import app

if __name__ == "__main__":
    raise SystemExit(main(app))
