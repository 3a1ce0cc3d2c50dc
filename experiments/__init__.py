"""Command lines that the app does not need: `python -m experiments.NAME --help`."""
