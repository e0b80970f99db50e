"""The older launcher: as run.py, but each process is told its number on the host as ``--local-rank``."""

from __future__ import annotations

from . import run as _run
from .agent import Agent

__all__ = ["main"]


def main(args=None) -> None:
    """Run what the command line asks for; ``--use-env`` leaves the program's arguments alone."""
    parser = _run.get_args_parser()
    parser.prog = "python -m flambeau.distributed.launch"
    parser.add_argument(
        "--use-env", "--use_env", action="store_true", help="tell LOCAL_RANK in the environment only"
    )
    found = parser.parse_args(args)
    Agent(_run.plan_of(found, adds_local_rank=not found.use_env)).run()


if __name__ == "__main__":
    _run._end_with_message(main)
