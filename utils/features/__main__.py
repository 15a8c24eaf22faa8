"""`python -m utils.features COMMAND`: extract, merge, export, encoders; a door to features/at_scale."""

import sys

from utils.features.at_scale.commands import main

if __name__ == "__main__":
    sys.exit(main())
