// Cuts a bfloat16 product for the instructions that multiply it.
#include "kernels/bfloat16_gemm.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/amx_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(pairs_pack);
FLB_DEFINE_KERNEL(pairs_block);

namespace {

bool pairs_available() {
#if defined(__x86_64__)
    static const bool available = cpu_level() == CpuLevel::Avx512 && __builtin_cpu_supports("avx512bf16");
    return available;
#else
    return false;
#endif
}

// Panels have so many rows of A, columns of B, and a whole number of `depth` steps of k; a block of A has at most so many
// rows and bytes.
struct Panels {
    int64_t rows, columns, depth, most_rows, most_bytes;
};
constexpr Panels kAmx{kAmxWidth, kAmxWidth, kAmxDepth, 256, 1 << 20},
    kPairs{kPairsRows, kPairsColumns, 2, kPairsMostRows, 512 << 10};

const char* at(const GemmSide& side, int64_t i) {
    return static_cast<const char*>(side.data) + i * side.stride * int64_t(sizeof(BFloat16));
}

}  // namespace

bool bfloat16_gemm_available() { return amx_available() || pairs_available(); }

void bfloat16_gemm(int64_t m, int64_t n, int64_t k, const GemmScale& scale, const GemmSide& a,
                   const GemmSide& b, void* c, int64_t ldc) {
    // B's part stays in the outer caches; a block of A and the panels in use in the second level.
    constexpr int64_t kPackedBytes = 4 << 20;
    const bool amx = amx_available();
    const Panels& p = amx ? kAmx : kPairs;
    const int64_t row_bytes = round_up(k, p.depth) * int64_t(sizeof(BFloat16));
    const auto pack = amx ? amx_pack.get() : pairs_pack.get();
    const auto block = amx ? amx_block.get() : pairs_block.get();
    const bool a_in_place = !amx && a.k_stride == 1 && a.stride > 0 && a.stride % 2 == 0 && k % 2 == 0;

    const int64_t most_columns = std::max(p.columns, kPackedBytes / row_bytes / p.columns * p.columns),
                  columns = std::min(round_up(n, p.columns), most_columns);
    const bool serial = num_threads() == 1 || in_parallel_region() ||
                        double(m) * double(n) * double(k) < 4.0 * kParallelProduct;
    // Blocks of nearly equal height, as many for each thread.
    const int64_t fitting = p.most_bytes / row_bytes / p.rows * p.rows,
                  most_rows = std::clamp(fitting, p.rows, p.most_rows / p.rows * p.rows),
                  wanted = round_up(ceil_div(m, most_rows), serial ? 1 : 2 * num_threads()),
                  mc = round_up(std::max(ceil_div(m, wanted), p.rows), a_in_place ? 1 : p.rows),
                  blocks = ceil_div(m, mc);
    char* packed_b = static_cast<char*>(scratch(Scratch::PackedB, size_t(columns * row_bytes)));
    for (int64_t j0 = 0; j0 < n; j0 += columns) {
        const int64_t nb = std::min(columns, n - j0), panels = ceil_div(nb, p.columns);
        const int64_t grain = serial ? panels : std::max(int64_t(1), (128 << 10) / (row_bytes * p.columns));
        parallel_for(0, panels, grain, [&](int64_t begin, int64_t end) {
            const int64_t first = begin * p.columns;
            pack(false, at(b, j0 + first), b.stride, b.k_stride, std::min(end * p.columns, nb) - first, k,
                 packed_b + first * row_bytes);
        });
        parallel_for(0, blocks, serial ? blocks : 1, [&](int64_t begin, int64_t end) {
            char* packed_a =
                a_in_place ? nullptr : static_cast<char*>(scratch(Scratch::PackedA, size_t(mc * row_bytes)));
            for (int64_t t = begin; t < end; ++t) {
                const int64_t i0 = t * mc, rows = std::min(mc, m - i0);
                if (!a_in_place) pack(true, at(a, i0), a.stride, a.k_stride, rows, k, packed_a);
                block({rows, nb, k, a_in_place ? at(a, i0) : packed_a, a_in_place ? a.stride : 0, packed_b,
                       float(scale.real[0]), float(scale.real[1]), static_cast<BFloat16*>(c) + i0 * ldc + j0,
                       ldc});
            }
        });
    }
}

}  // namespace flb
