"""The benchmark's command, `python -m utils.benchmark accuracy|speed`: a door to `utils.lab`."""
