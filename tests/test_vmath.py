"""The elementary functions and conversions, at each instruction set that this processor has, and special functions."""

import pathlib
import platform
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# As in CMakeLists.txt.
FLAGS = "-std=gnu++20 -O3 -fno-strict-aliasing -fno-math-errno -fno-trapping-math -ffp-contract=off".split()
LEVELS = {
    "baseline": (0, ["-march=x86-64-v2"], {"sse4_2"}),
    "avx2": (1, ["-march=x86-64-v3"], {"avx2", "fma", "bmi2"}),
    "avx512": (
        2,
        ["-march=x86-64-v4", "-mprefer-vector-width=512"],
        {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
    ),
}


def processor_flags():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


# What else a program is linked with.
SOURCES = {
    "block_cast_test": ["csrc/core/promotion.cpp", "csrc/core/error.cpp"],
    "special_functions_test": ["csrc/kernels/special_functions.cpp", "csrc/kernels/complex_functions.cpp"],
    "special_polynomials_test": [
        "csrc/kernels/special_functions.cpp",
        "csrc/kernels/special_polynomials.cpp",
    ],
}


@pytest.mark.parametrize(
    ("program", "name"),
    [
        *(("vmath_test", level) for level in LEVELS),
        ("block_cast_test", "avx2"),
        ("special_functions_test", "baseline"),
        ("special_polynomials_test", "baseline"),
    ],
)
def test_native_program(program, name, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    level, options, needed = LEVELS[name]
    if platform.machine() not in ("x86_64", "AMD64"):
        options = []
        if level:
            pytest.skip("x86-64 only")
    elif not needed <= processor_flags():
        pytest.skip(f"the processor lacks {sorted(needed - processor_flags())}")
    binary = tmp_path / program
    sources = [str(ROOT / path) for path in [f"tests/native/{program}.cpp", *SOURCES.get(program, [])]]
    command = ["g++", *FLAGS, *options, f"-DFLB_LEVEL={level}", f"-DFLB_ISA={name}", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, *sources, "-o", str(binary)], check=True)
    result = subprocess.run([str(binary)], capture_output=True, text=True, timeout=300)
    print(result.stdout)
    failed = "\n".join(line for line in result.stdout.splitlines() if "FAILED" in line)
    assert result.returncode == 0, failed or result.stderr
