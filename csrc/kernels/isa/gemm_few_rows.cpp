// Few rows of A by several panels of B at once: with one panel, sums would wait for themselves.
#include "kernels/gemm_kernels.h"
#include "kernels/isa/gemm_tile.h"

namespace flb {
namespace FLB_ISA {

template <class T, int Rows, int Panels>
[[gnu::noinline]] void few_rows(const GemmFewRows& g, int64_t panel) {
    constexpr int L = kLanes<T>;
    const T* a = static_cast<const T*>(g.a);
    const T* b = static_cast<const T*>(g.b) + panel * g.b_panel;
    Vector<T> sum[Panels][Rows][kNv] = {};
    for (int64_t k = 0; k < g.k; ++k, b += kNr<T>) {
        Vector<T> x[Rows];
#pragma GCC unroll 6
        for (int i = 0; i < Rows; ++i) x[i] = broadcast(a[i * g.a_stride + k]);
#pragma GCC unroll 4
        for (int p = 0; p < Panels; ++p)
#pragma GCC unroll 2
            for (int v = 0; v < kNv; ++v) {
                const Vector<T> columns = load(b + p * g.b_panel + v * L);
#pragma GCC unroll 6
                for (int i = 0; i < Rows; ++i) add_product<T>(sum[p][i][v], x[i], columns);
            }
    }
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p)
#pragma GCC unroll 6
        for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
            for (int v = 0; v < kNv; ++v) {
                T* to = static_cast<T*>(g.c) + (panel + p) * g.c_panel + i * g.ldc + v * L;
                const int64_t left = (panel + p + 1 < g.panels ? g.columns : g.last_columns) - v * L;
                const Vector<T> x = sum[p][i][v];
                if (left >= L) store(to, g.accumulate ? load(to) + x : x);
                else if (left > 0) store_first(to, g.accumulate ? load_first<T>(to, left) + x : x, left);
            }
}

// As many panels at once as the registers hold sums for.
template <class T, int Rows>
void all_panels(const GemmFewRows& g) {
    constexpr int kTogether = Rows * 4 <= kMr ? 4 : Rows * 2 <= kMr ? 2 : 1;
    int64_t panel = 0;
    for (; panel + kTogether <= g.panels; panel += kTogether) few_rows<T, Rows, kTogether>(g, panel);
    if constexpr (kTogether > 2)
        if (panel + 2 <= g.panels) few_rows<T, Rows, 2>(g, panel), panel += 2;
    if constexpr (kTogether > 1)
        if (panel < g.panels) few_rows<T, Rows, 1>(g, panel);
}

template <class T>
void by_rows(const GemmFewRows& g) {
    with_constant<int(kFewRows)>(g.m, [&](auto rows) { all_panels<T, decltype(rows)::value>(g); });
}

void gemm_few_rows_impl(PanelType type, const GemmFewRows& g) {
    if (type == PanelType::F32) by_rows<float>(g);
    else by_rows<double>(g);
}

FLB_REGISTER_KERNEL(gemm_few_rows, &gemm_few_rows_impl);

}  // namespace FLB_ISA
}  // namespace flb
