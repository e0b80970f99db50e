// Sums of outer products: what the gradients of weights are made of.
#include "kernels/conv_kernels.h"

#include "kernels/isa/gemm_tile.h"

namespace flb {
namespace FLB_ISA {

template <int Rows, int Nv>
[[gnu::noinline]] void outer_tile(const OuterProducts& g, int64_t row, int64_t column) {
    using V = Vector<float>;
    constexpr int L = kLanes<float>;
    V sum[Rows][Nv] = {};
    const int64_t a_step = g.a_step, b_step = g.b_step;
    for (int64_t line = 0; line < g.lines; ++line) {
        const float *a = g.a + line * g.a_line + row, *b = g.b + line * g.b_line + column;
        for (int64_t k = 0; k < g.depth; ++k) {
            V x[Nv];
#pragma GCC unroll 2
            for (int j = 0; j < Nv; ++j) x[j] = load(b + j * L);
            __builtin_prefetch(a + 16 * a_step);
#pragma GCC unroll 12
            for (int i = 0; i < Rows; ++i) {
                const V y = broadcast(a[i]);
#pragma GCC unroll 2
                for (int j = 0; j < Nv; ++j) add_product<float>(sum[i][j], y, x[j]);
            }
            a += a_step;
            b += b_step;
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < Nv; ++j) {
            float* to = g.c + (row + i) * g.c_row + column + j * L;
            store(to, g.accumulate ? load(to) + sum[i][j] : sum[i][j]);
        }
}

// A panel of columns stays in the first cache level while all rows meet it.
void outer_products_impl(const OuterProducts& g) {
    for (int64_t column = 0; column < g.columns; column += kNr<float>) {
        const bool one = g.columns - column <= kLanes<float>;
        for (int64_t row = 0; row < g.rows;) {
            // Tiles of nearly equal height: one of a single row would wait for its own sums.
            const int64_t left = (g.rows - row + kMr - 1) / kMr, rows = (g.rows - row + left - 1) / left;
            with_constant<kMr>(rows, [&](auto n) {
                if (one) outer_tile<decltype(n)::value, 1>(g, row, column);
                else outer_tile<decltype(n)::value, kNv>(g, row, column);
            });
            row += rows;
        }
    }
}

FLB_REGISTER_KERNEL(outer_products, &outer_products_impl);

}  // namespace FLB_ISA
}  // namespace flb
