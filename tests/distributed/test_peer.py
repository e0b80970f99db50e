"""An unmodified program prints the same on flambeau as on PyTorch with gloo, where that is installed."""

import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent
PROGRAM = FOLDER / "peer_program.py"


def output(*runner, port):
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *runner, str(PROGRAM), str(port)],
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def ours():
    from test_launcher import free_port

    return output("-m", "flambeau", port=free_port())


def test_the_program_runs(ours):
    assert len(ours) > 120
    assert "[1] recv: (0, [0.0, 1.0, 2.0])" in ours
    assert not [line for line in ours if "Error" in line and not line[4:].startswith("error")]


@pytest.mark.slow
def test_prints_what_pytorch_prints(ours):
    pytest.importorskip("torch", reason="PyTorch, the peer, is not installed")
    from test_launcher import free_port

    assert ours == output(port=free_port())
