"""One process that checks the entries of a suite for the runner: a JSON request a line in, a JSON answer a line out.

It runs apart so that a crash costs one entry and is reported as that entry's, and so that a hang can be ended.
"""

import json
import os
import signal
import sys
import warnings

import torch

from .convert import peer
from .suites import SUITES

SECONDS_PER_PAIR = 60


class TookTooLong(BaseException):
    """Not an Exception: no `except Exception` on the way may take it for the entry's."""


def give_up(signum: int, frame: object) -> None:
    raise TookTooLong


def serve(check, requests, answers) -> None:
    signal.signal(signal.SIGALRM, give_up)
    for line in requests:
        request = json.loads(line)
        signal.alarm(SECONDS_PER_PAIR)
        try:
            status, reason = check(request["name"], request["part"])
        except TookTooLong:
            status, reason = "FAIL", f"took more than {SECONDS_PER_PAIR} s"
        except Exception as error:
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno}"
            status, reason = "FAIL", f"the harness failed: {type(error).__name__}: {error} ({where})"
        finally:
            signal.alarm(0)
        print(json.dumps({**request, "status": status, "reason": reason}), file=answers, flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if hasattr(peer, "set_num_threads"):
        peer.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an entry prints must not mix with the answers
    module = SUITES[sys.argv[1]].module
    module.entries()  # reading the database is not the first entry's time
    serve(module.check, sys.stdin, answers)


if __name__ == "__main__":
    main()
