"""The benchmark's command, `python -m utils.benchmark accuracy|speed`: a door to `utils.lab_main`."""

import sys

from utils.lab_main import main

if __name__ == "__main__":
    sys.exit(main())
