"""`python -m utils.own_data`: the same commands as `python -m utils.data` (convert, new, export, check, clean and list belong here)."""

import sys

from utils.data.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
