"""`python -m utils.features COMMAND`: extract, merge, export, encoders; a door to features/at_scale."""

from utils.errors import leave
from utils.features.at_scale.commands import main

if __name__ == "__main__":
    leave(main)
