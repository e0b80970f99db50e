// Cuts a float32 product for the tiles of AMX: see Note [Products of parts].
#include "kernels/amx_float.h"

#include <algorithm>
#include <mutex>

#include "core/parallel.h"
#include "kernels/amx_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(amx_parts_pack);
FLB_DEFINE_KERNEL(amx_parts_block);

namespace {

// Taking a row of A apart costs what is gained on this many columns of C, and a column of B on so many rows (measured).
constexpr double kColumnsForA = 60, kRowsForB = 130;
constexpr int64_t kLeastDepth = 64;

const float* element(const GemmSide& side, int64_t i, int64_t k) {
    return static_cast<const float*>(side.data) + i * side.stride + k * side.k_stride;
}

bool safe(const ExponentRange& a, const ExponentRange& b) {
    constexpr int kLeastProduct = -96, kLeastElement = -100, kBeyond = 80;
    return a.least + b.least >= kLeastProduct && std::min(a.least, b.least) >= kLeastElement &&
           a.most + b.most < kBeyond && std::max(a.most, b.most) < kBeyond;
}

}  // namespace

bool amx_float_pays(int64_t m, int64_t n, int64_t k, const GemmSide& a, const GemmSide& b) {
    const bool symmetric = a.data == b.data && a.stride == b.stride && a.k_stride == b.k_stride && m == n;
    return k >= kLeastDepth && double(m) * double(n) >= kColumnsForA * double(m) + kRowsForB * double(n) &&
           !symmetric && amx_available();
}

void amx_float_gemm(int64_t m, int64_t n, int64_t k, const GemmSide& a, const GemmSide& b, float* c,
                    int64_t ldc, bool accumulate) {
    // At 512 steps of k, C is read and written seldom, and 256 rows of A (768 KB) stay in the second cache level beside
    // the panels of B in use. B's columns stay in the third, beside C. Few rows make small blocks, for several threads.
    constexpr int64_t kDepth = 512, kColumns = 2048, kMostRows = 256, kLeastRows = 64;
    const int64_t mc = std::clamp(round_up(ceil_div(m, 4), kPartsWidth), kLeastRows, kMostRows),
                  blocks = ceil_div(m, mc);
    const bool serial = num_threads() == 1 || in_parallel_region();
    const auto packed_bytes = [](int64_t count, int64_t steps) {
        return ceil_div(count, kPartsWidth) * steps * kPartsStepBytes;
    };
    const int64_t most_steps = ceil_div(std::min(k, kDepth), kPartsDepth);
    char* packed_b = static_cast<char*>(
        scratch(Scratch::PartsOfB, size_t(packed_bytes(std::min(n, kColumns), most_steps))));
    for (int64_t j0 = 0; j0 < n; j0 += kColumns)
        for (int64_t p = 0; p < k; p += kDepth) {
            const int64_t nb = std::min(kColumns, n - j0), kc = std::min(kDepth, k - p),
                          steps = ceil_div(kc, kPartsDepth);
            const bool add = accumulate || p > 0;
            ExponentRange range_b;
            std::mutex mutex;
            parallel_for(0, ceil_div(nb, kPartsWidth), 4, [&](int64_t begin, int64_t end) {
                const int64_t j = begin * kPartsWidth, count = std::min(end * kPartsWidth, nb) - j;
                const ExponentRange part = amx_parts_pack(false, element(b, j0 + j, p), b.stride, b.k_stride,
                                                          count, kc, packed_b + packed_bytes(j, steps));
                const std::lock_guard lock(mutex);
                range_b = {std::min(range_b.least, part.least), std::max(range_b.most, part.most)};
            });
            const auto ordinary = [&](int64_t i0, int64_t rows, int64_t j, int64_t columns) {
                packed_gemm(PanelType::F32, DType::Float32, rows, columns, kc,
                            {element(a, i0, p), a.stride, a.k_stride},
                            {element(b, j0 + j, p), b.stride, b.k_stride}, c + i0 * ldc + j0 + j, ldc, add);
            };
            if (!safe({}, range_b)) {
                ordinary(0, m, 0, nb);
                continue;
            }
            // Blocks of rows, and where they are few for the threads, parts of their columns.
            const int64_t panels = ceil_div(nb, kPartsWidth),
                          groups = serial ? 1
                                          : std::clamp(ceil_div(4 * num_threads(), blocks), int64_t(1),
                                                       ceil_div(panels, 8)),
                          width = ceil_div(panels, groups) * kPartsWidth, parts = ceil_div(nb, width);
            parallel_for(0, blocks * parts, 1, [&](int64_t begin, int64_t end) {
                char* packed_a =
                    static_cast<char*>(scratch(Scratch::PartsOfA, size_t(packed_bytes(mc, most_steps))));
                for (int64_t t = begin; t < end; ++t) {
                    const int64_t i0 = t / parts * mc, rows = std::min(mc, m - i0), j = t % parts * width,
                                  columns = std::min(width, nb - j);
                    const ExponentRange range_a =
                        amx_parts_pack(true, element(a, i0, p), a.stride, a.k_stride, rows, kc, packed_a);
                    if (safe(range_a, range_b))
                        amx_parts_block({rows, columns, steps, packed_a, packed_b + packed_bytes(j, steps),
                                         c + i0 * ldc + j0 + j, ldc, add});
                    else ordinary(i0, rows, j, columns);
                }
            });
        }
}

}  // namespace flb
