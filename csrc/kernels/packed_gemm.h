// The driver of our own matrix product: cuts, packs, shares out over threads. See gemm_kernels.h for the scheme.
//
// The operands come through two callbacks that pack a part of them, so that a convolution can multiply by the
// columns of its image without ever building them in memory.
#pragma once
#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/gemm_kernels.h"

namespace flb {

// Memory for one product at a time, kept by the thread for the next one. Slots keep nested uses apart.
enum class Scratch : int { PackedA, PackedB, Product, Columns, Partial };
void* scratch(Scratch slot, size_t nbytes);

int panel_itemsize(PanelType type);

constexpr int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

// Products below this many multiplications stay on the caller's thread (about 10 us).
constexpr int64_t kParallelProduct = 1 << 20;

// C[m, n] (+)= A[m, k] * B[k, n]; m, n, k >= 1. C holds elements of the panel type.
//   pack_a(row, rows, k_begin, kc, panels)    pack_b(column, columns, k_begin, kc, panels)
template <class PackA, class PackB>
void packed_gemm(PanelType type, int64_t m, int64_t n, int64_t k, PackA&& pack_a, PackB&& pack_b, void* c,
                 int64_t ldc, bool accumulate) {
    constexpr int64_t kMaxPackedBytes = 4 << 20;
    const GemmShape shape = gemm_shape(type);
    const int64_t size = panel_itemsize(type);
    const int64_t nc = std::min(round_up(n, shape.nr), int64_t(shape.nc));
    // As many steps of k as fit are packed at once: one synchronisation instead of several.
    const int64_t k_group = std::max(int64_t(1), kMaxPackedBytes / (nc * size * shape.kc)) * shape.kc;
    char* packed_b = static_cast<char*>(scratch(Scratch::PackedB, size_t(nc * std::min(k, k_group) * size)));

    const bool serial =
        num_threads() == 1 || in_parallel_region() || double(m) * double(n) * double(k) < kParallelProduct;
    const int64_t threads = serial ? 1 : num_threads();
    int64_t mc = shape.mc;
    if (!serial) mc = std::clamp(round_up(ceil_div(m, 4 * threads), shape.mr), int64_t(4 * shape.mr), mc);
    const int64_t row_blocks = ceil_div(m, mc);

    for (int64_t j0 = 0; j0 < n; j0 += nc) {
        const int64_t nb = std::min(nc, n - j0);
        const int64_t panels = ceil_div(nb, shape.nr);
        const int64_t groups = std::clamp(ceil_div(2 * threads, row_blocks), int64_t(1), panels);
        const int64_t group_cols = ceil_div(panels, serial ? 1 : groups) * shape.nr;
        const int64_t column_groups = ceil_div(nb, group_cols);
        for (int64_t p0 = 0; p0 < k; p0 += k_group) {
            const int64_t kb = std::min(k_group, k - p0);
            const int64_t steps = ceil_div(kb, shape.kc);
            // Step s of k holds its panels at s * kc * (all columns).
            const int64_t width = panels * shape.nr;
            const int64_t pack_grain = serial ? steps * panels : std::max(1, 16384 / (shape.kc * shape.nr));
            parallel_for(0, steps * panels, pack_grain, [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end;) {
                    const int64_t s = t / panels, first = t % panels;
                    const int64_t count = std::min(end - t, panels - first);
                    const int64_t kc = std::min(int64_t(shape.kc), kb - s * shape.kc);
                    const int64_t column = first * shape.nr;
                    pack_b(j0 + column, std::min(count * shape.nr, nb - column), p0 + s * shape.kc, kc,
                           packed_b + (s * shape.kc * width + column * kc) * size);
                    t += count;
                }
            });
            const int64_t tasks = row_blocks * column_groups;
            parallel_for(0, tasks, serial ? tasks : 1, [&](int64_t begin, int64_t end) {
                char* packed_a = static_cast<char*>(scratch(Scratch::PackedA, size_t(mc * shape.kc * size)));
                for (int64_t t = begin; t < end; ++t) {
                    const int64_t i0 = t / column_groups * mc, rows = std::min(mc, m - i0);
                    const int64_t column = t % column_groups * group_cols,
                                  cols = std::min(group_cols, nb - column);
                    for (int64_t s = 0; s < steps; ++s) {
                        const int64_t kc = std::min(int64_t(shape.kc), kb - s * shape.kc);
                        pack_a(i0, rows, p0 + s * shape.kc, kc, packed_a);
                        gemm_block(type, rows, cols, kc, packed_a,
                                   packed_b + (s * shape.kc * width + column * kc) * size,
                                   static_cast<char*>(c) + (i0 * ldc + j0 + column) * size, ldc,
                                   accumulate || p0 + s > 0);
                    }
                }
            });
        }
    }
}

}  // namespace flb
