"""The native core without Python: each program of tests/native is compiled and run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = [f"csrc/core/{name}.cpp" for name in ("allocator", "cpu_count", "cpu_level", "error", "thread_pool")]
COMPILER = os.environ.get("CXX") or shutil.which("g++")

pytestmark = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """build(name) -> path of the program compiled from tests/native/<name>.cpp and the core."""
    folder = tmp_path_factory.mktemp("native")

    def build(name, *flags):
        program = folder / name
        command = [COMPILER, "-std=gnu++20", "-O1", "-pthread", "-Icsrc", "-Itests/native", *flags]
        subprocess.run([*command, f"tests/native/{name}.cpp", *CORE, "-o", program], cwd=ROOT, check=True)
        return program

    return build


@pytest.mark.parametrize("name", ["test_allocator", "test_thread_pool"])
def test_native(build, name):
    subprocess.run([build(name)], check=True, timeout=120)


def test_allocator_bypasses_its_cache_under_address_sanitizer(build):
    subprocess.run([build("test_allocator", "-fsanitize=address")], check=True, timeout=120)


def test_limits_follow_the_environment(build):
    program = build("print_limits")

    def limits(prefix=(), **environment):
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAMBEAU_CPU_CAPABILITY")
        }
        run = subprocess.run(
            [*prefix, program], env=clean | environment, stdout=subprocess.PIPE, check=True, text=True
        )
        hardware, level, affinity, available, threads = run.stdout.split()
        return hardware, level, int(affinity), int(available), int(threads)

    hardware, level, affinity, available, threads = limits()
    assert level == hardware
    assert affinity == len(os.sched_getaffinity(0))
    assert 1 <= threads == available <= affinity
    assert limits(FLAMBEAU_CPU_CAPABILITY="default")[1] == "DEFAULT"
    assert limits(FLAMBEAU_CPU_CAPABILITY="nonsense")[1] == hardware
    assert limits(FLAMBEAU_CPU_CAPABILITY="avx512")[1] == hardware
    assert limits(OMP_NUM_THREADS="3")[4] == 3
    assert limits(OMP_NUM_THREADS="5,2")[4] == 5
    assert limits(MKL_NUM_THREADS="4")[4] == 4
    assert limits(OMP_NUM_THREADS="2", MKL_NUM_THREADS="4")[4] == 2
    assert limits(OMP_NUM_THREADS="-1")[4] == threads
    assert limits(OMP_NUM_THREADS="many")[4] == threads
    if shutil.which("taskset"):
        assert limits(prefix=["taskset", "-c", str(min(os.sched_getaffinity(0)))])[2:] == (1, 1, 1)
