"""`python -m utils.own_data`: the same commands as `python -m utils.data` (convert, new, export, check, clean and list belong here)."""

from utils.data.__main__ import main
from utils.errors import leave

if __name__ == "__main__":
    leave(main)
