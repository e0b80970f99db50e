"""What Linux says of the processor."""

from __future__ import annotations

import platform
import re
from pathlib import Path

#: PyTorch's names of extensions of x86's instruction set, where they are not Linux's.
_FLAGS = {
    "sse3": "pni",
    "lzcnt": "abm",
    "fma3": "fma",
    "bmi": "bmi1",
    "sha": "sha_ni",
    "clflush": "clflush",
    "amx_tile": "amx_tile",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "amx_fp16": "amx_fp16",
    "avx512_f": "avx512f",
    "avx512_cd": "avx512cd",
    "avx512_dq": "avx512dq",
    "avx512_bw": "avx512bw",
    "avx512_vl": "avx512vl",
    "avx512_ifma": "avx512ifma",
    "avx512_vbmi": "avx512vbmi",
}
_SAME = (
    "sse sse2 ssse3 sse4_1 sse4_2 sse4a avx avx2 avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ne_convert avx512_4vnniw "
    "avx512_4fmaps avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_vp2intersect avx512_bf16 avx512_fp16 "
    "avx10_1 avx10_2 fma4 f16c bmi2 popcnt aes clflushopt clwb"
).split()
#: Extensions of ARM's.
_ARM = {
    "neon": "asimd",
    "fp16_arith": "asimdhp",
    "dot": "asimddp",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def info() -> list[dict[str, str]]:
    """The entries of /proc/cpuinfo, one for each logical core."""
    blocks = _read("/proc/cpuinfo").strip().split("\n\n")
    return [
        dict((part.strip() for part in line.partition(":")[::2]) for line in block.splitlines())
        for block in blocks
    ]


def _cache_size(level: int) -> int:
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (
            _read(f"{folder}/level").strip() == str(level)
            and _read(f"{folder}/type").strip() != "Instruction"
        ):
            number, unit = re.fullmatch(r"(\d+)([KM]?)\s*", _read(f"{folder}/size")).groups()
            return int(number) * {"": 1, "K": 1024, "M": 1024**2}[unit]
    return 0


def capabilities() -> dict:
    """The contents of `flambeau.cpu.get_capabilities`."""
    cores, machine = info(), platform.machine()
    first = cores[0]
    have = set((first.get("flags") or first.get("Features") or "").split())
    names = {**{name: name for name in _SAME}, **_FLAGS} if machine == "x86_64" else _ARM
    physical = {(core.get("physical id", "0"), core.get("core id", i)) for i, core in enumerate(cores)}
    return {
        "architecture": machine,
        "cpu_name": first.get("model name", ""),
        "num_sockets": len({core.get("physical id", "0") for core in cores}),
        "num_physical_cores": len(physical),
        "num_logical_cores": len(cores),
        "l1d_cache_size": _cache_size(1),
        "l2_cache_size": _cache_size(2),
        **{name: flag in have for name, flag in names.items()},
    }
