"""The commands ``towpath`` and ``towpath-playbook``."""

import os
import sys

from . import _towpath


def main() -> int:
    """Runs the command with this process's arguments. Steps of pipelines may name Python functions as `module:qualname`."""
    # A console script does not look into the working directory by itself, `python -m` does.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _towpath.main(["towpath", *sys.argv[1:]])


def playbook() -> int:
    """Runs ``towpath-playbook``, or what it is under the names ``ansible``, ``ansible-playbook``, ``ansible-inventory`` and ``ansible-vault``."""
    return _towpath.playbook_main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
