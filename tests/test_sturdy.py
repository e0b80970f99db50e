"""Whatever the arguments, an operator raises at worst: no crash, no hang, nothing written outside its window.

The calls are made by worker processes (tests/sturdy), so that one that dies names its call. FLAMBEAU_STURDY_CASES sets
how many calls each operator gets (the default suits a quick run), FLAMBEAU_STURDY_FIRST the first case's number.
"""

import os
import select
import subprocess
import sys
import time

import pytest

from tests.sturdy.targets import targets

CASES = int(os.environ.get("FLAMBEAU_STURDY_CASES", "40"))
FIRST = int(os.environ.get("FLAMBEAU_STURDY_FIRST", "0"))
SILENCE = float(
    os.environ.get("FLAMBEAU_STURDY_SILENCE", "60")
)  # seconds one call may take, on a busy machine
GROUPS = 4
NAMES = sorted(targets())


def watch(names, first, count):
    """Runs the cases in worker processes. Returns the faults found, as text."""
    faults = []
    names = list(names)
    while names:
        read_end, write_end = os.pipe()
        errors = []
        with subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "tests.sturdy",
                "--walk",
                str(write_end),
                str(first),
                str(count),
                *names,
            ],
            pass_fds=[write_end],
            stderr=subprocess.PIPE,
            env=dict(os.environ, OMP_NUM_THREADS="2"),
        ) as worker:
            os.close(write_end)
            os.set_blocking(worker.stderr.fileno(), False)
            at, buffer, heard, done = None, b"", time.monotonic(), False
            while True:
                ready, _, _ = select.select([read_end, worker.stderr], [], [], 1.0)
                if worker.stderr in ready:
                    errors.append(worker.stderr.read() or b"")
                if read_end in ready:
                    data = os.read(read_end, 65536)
                    if not data:
                        break
                    heard = time.monotonic()
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        if line.startswith(b"at "):
                            at = line.decode().split()
                        elif line.startswith(b"fault "):
                            faults.append(line.decode())
                        done |= line == b"done"
                elif time.monotonic() - heard > SILENCE:
                    worker.kill()
                    faults.append(f"hang {at[1]} {at[2]}")
                    break
            os.close(read_end)
            os.set_blocking(worker.stderr.fileno(), True)
            errors.append(worker.stderr.read())
        if done:
            break
        assert at, b"".join(errors).decode(errors="replace")
        if not faults or not faults[-1].startswith(f"hang {at[1]} {at[2]}"):
            tail = b"".join(errors).decode(errors="replace")[-3000:]
            faults.append(f"crash {at[1]} {at[2]} (exit status {worker.returncode})\n{tail}")
        # The operator that crashed is done; the others go on.
        names = names[names.index(at[2]) + 1 :]
    return faults


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_calls(group):
    faults = watch(NAMES[group::GROUPS], FIRST, CASES)
    hint = "\n(one again: python -m tests.sturdy OPERATOR CASE)"
    assert not faults, "\n".join(faults[:40]) + hint
