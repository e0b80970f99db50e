// Cuts a bfloat16 product for the tiles of AMX: see Note [AMX panels].
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

void amx_gemm(int64_t m, int64_t n, int64_t k, const GemmScale& scale, const GemmSide& a, const GemmSide& b,
              void* c, int64_t ldc) {
    // B's part stays in the outer caches; a block of A and the panels in use in the second level. Sums stay in tiles for
    // all of k.
    constexpr int64_t kPackedBytes = 4 << 20, kBlockBytes = 1 << 20;
    const int64_t steps = ceil_div(k, kAmxDepth), panel_bytes = steps * 2 * kAmxTileBytes;
    const int64_t columns =
        std::min(round_up(n, kAmxWidth), std::max(int64_t(1), kPackedBytes / panel_bytes) * kAmxWidth);
    const bool serial = num_threads() == 1 || in_parallel_region() ||
                        double(m) * double(n) * double(k) < 4.0 * kParallelProduct;
    const int64_t largest = std::clamp(kBlockBytes / panel_bytes * kAmxWidth, kAmxWidth, int64_t(256));
    const int64_t share = serial ? m : ceil_div(m, 2 * num_threads());
    const int64_t mc = std::min(round_up(share, kAmxWidth), largest), blocks = ceil_div(m, mc);
    char* packed_b = static_cast<char*>(scratch(Scratch::PackedB, size_t(columns / kAmxWidth * panel_bytes)));
    const auto at = [](const GemmSide& side, int64_t i) {
        return static_cast<const BFloat16*>(side.data) + i * side.stride;
    };
    for (int64_t j0 = 0; j0 < n; j0 += columns) {
        const int64_t nb = std::min(columns, n - j0), panels = ceil_div(nb, kAmxWidth);
        const int64_t grain = serial ? panels : std::max(int64_t(1), (128 << 10) / panel_bytes);
        parallel_for(0, panels, grain, [&](int64_t begin, int64_t end) {
            amx_pack(false, at(b, j0 + begin * kAmxWidth), b.stride, b.k_stride,
                     std::min(end * kAmxWidth, nb) - begin * kAmxWidth, k, packed_b + begin * panel_bytes);
        });
        parallel_for(0, blocks, serial ? blocks : 1, [&](int64_t begin, int64_t end) {
            char* packed_a =
                static_cast<char*>(scratch(Scratch::PackedA, size_t(mc / kAmxWidth * panel_bytes)));
            for (int64_t t = begin; t < end; ++t) {
                const int64_t i0 = t * mc, rows = std::min(mc, m - i0);
                amx_pack(true, at(a, i0), a.stride, a.k_stride, rows, k, packed_a);
                amx_block({rows, nb, steps, packed_a, packed_b, panel_bytes, float(scale.real[0]),
                           float(scale.real[1]), static_cast<BFloat16*>(c) + i0 * ldc + j0, ldc});
            }
        });
    }
}

}  // namespace flb
