"""Send a notification when a run does not convert all files.

python flows/notify.py BLOCK_TYPE/BLOCK_NAME
"""

from flows.cli.command import main
from flows.cli.notification import app

if __name__ == "__main__":
    raise SystemExit(main(app))
