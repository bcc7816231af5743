"""The command ``towpath``."""

import os
import sys

from . import _towpath


def main() -> int:
    """Runs the command with this process's arguments. Steps of pipelines may name Python functions as `module:qualname`."""
    # A console script does not look into the working directory by itself, `python -m` does.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _towpath.main(["towpath", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
