"""The worker: runs cases, and says which one it is at before each, so that whoever watches can name it."""

import os
import resource
import sys
import traceback

from . import check
from .targets import targets

MEMORY = (
    2 << 30
)  # more than any case needs: a huge allocation fails before it is filled, and the machine goes on


def limit_memory():
    # Sanitizers reserve terabytes of addresses and have a limit of their own (max_allocation_size_mb).
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def one(name, case):
    target = targets()[name]
    print(check.report(target, case), flush=True)
    try:
        print(check.run(target, case))
    except check.Fault:
        traceback.print_exc()
        sys.exit(1)


def walk(names, first, count, channel):
    """Cases first .. first + count of each name. On `channel`: a line before each case, and a line for each fault."""
    known = targets()
    tally = {}
    for name in names:
        for case in range(first, first + count):
            os.write(channel, f"at {case} {name}\n".encode())
            try:
                outcome = check.run(known[name], case)
            except check.Fault as e:
                outcome = "fault"
                text = str(e).encode("unicode_escape").decode()
                os.write(channel, f"fault {case} {name} {text}\n".encode())
            tally[outcome] = tally.get(outcome, 0) + 1
        if "STURDY_TALLY" in os.environ:
            print(name, tally, file=sys.stderr)
            tally = {}
    os.write(channel, b"done\n")


def main(args):
    limit_memory()
    if args[0] == "--walk":
        # After "--walk CHANNEL FIRST COUNT" the names.
        walk(args[4:], int(args[2]), int(args[3]), int(args[1]))
    else:
        one(args[0], int(args[1]))


main(sys.argv[1:])
