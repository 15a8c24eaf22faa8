"""The benchmark's command, `python -m utils.benchmark accuracy|speed`: a door to `utils.lab.benchmark`."""

from utils.errors import leave
from utils.lab.benchmark import main

if __name__ == "__main__":
    leave(main)
