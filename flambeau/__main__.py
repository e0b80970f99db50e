"""The command line: ``python -m flambeau SCRIPT [ARGS...]``."""

from flambeau._compat.runner import main

if __name__ == "__main__":
    main()
