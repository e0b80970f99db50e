// Whether there are tiles to multiply with.
#include "kernels/amx_gemm.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace flb {

FLB_DEFINE_KERNEL(amx_pack);
FLB_DEFINE_KERNEL(amx_block);

namespace {

bool ask_for_amx() {
#if defined(__x86_64__) && defined(__linux__)
    if (cpu_level() != CpuLevel::Avx512) return false;
    unsigned a, b, c, d;
    constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kXsave = 1u << 27;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kXsave)) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kBf16 | kTile)) != (kBf16 | kTile)) return false;
    // The system saves the tiles' state (bits 17 and 18), and grants this process its use.
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return (low & 0x60000) == 0x60000 && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

}  // namespace

bool amx_available() {
    static const bool available = ask_for_amx();
    return available;
}

}  // namespace flb
