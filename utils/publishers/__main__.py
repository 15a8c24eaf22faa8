"""`python -m utils.publishers`: the same commands as `python -m utils.data` (get belong here)."""

from utils.data.__main__ import main
from utils.errors import leave

if __name__ == "__main__":
    leave(main)
