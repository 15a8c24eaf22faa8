"""`python -m utils.publishers`: the same commands as `python -m utils.data` (get belong here)."""

import sys

from utils.data.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
