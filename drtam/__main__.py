"""The door to the command line: ``python -m drtam explain --help``."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
NO_CHECKOUT = (
    "python -m drtam needs the project's networks and figures, which pip install does not "
    "bring: run it with a checkout of the project, after pip install -r requirements.txt there."
)


def main() -> int:
    """Hand over to ``ui.command``, which a checkout has and the package has not."""
    if not (CHECKOUT / "ui" / "command.py").is_file():
        print(NO_CHECKOUT, file=sys.stderr)
        return 2
    sys.path.insert(0, str(CHECKOUT))
    try:
        from ui import command  # noqa: PLC0415 - it is not there in an installed package
    except ModuleNotFoundError as error:
        print(f"{NO_CHECKOUT} ({error.name} is missing.)", file=sys.stderr)
        return 2
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
