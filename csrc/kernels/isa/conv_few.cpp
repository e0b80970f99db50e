// Rows of outputs of few channels: see conv_few.cpp.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// Vectors of neighbouring outputs, of all target channels.
template <class T, int Targets, int Vectors>
[[gnu::noinline]] void few_vectors(const FewRow& row, int64_t first) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    const T* bias = static_cast<const T*>(row.bias);
    V sum[Targets][Vectors];
#pragma GCC unroll 4
    for (int t = 0; t < Targets; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[t][v] = broadcast(bias[t]);
    const T* in = static_cast<const T*>(row.input) + first;
    const T* weights = static_cast<const T*>(row.weights);
    for (int64_t s = 0; s < row.sources; ++s) {
        for (int64_t k = 0; k < row.tap_count; ++k) {
            const T* w = weights + row.taps[k] * Targets;
            const T* from = in + row.offsets[k];
            V x[Vectors];
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) x[v] = load(from + v * L);
#pragma GCC unroll 4
            for (int t = 0; t < Targets; ++t) {
                const V y = broadcast(w[t]);
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; ++v) add_product<T>(sum[t][v], x[v], y);
            }
        }
        in += row.plane;
        weights += row.all_taps * Targets;
    }
    T* out = static_cast<T*>(row.output) + first;
#pragma GCC unroll 4
    for (int t = 0; t < Targets; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) store(out + t * row.output_row + v * L, sum[t][v]);
}

template <class T>
void few_row(const FewRow& row) {
    constexpr int L = kLanes<T>;
    constexpr int64_t kMost = 4;
    const int64_t vectors = (row.positions + L - 1) / L, tiles = (vectors + kMost - 1) / kMost;
    int64_t done = 0;
    for (int64_t i = 0; i < tiles; ++i) {
        const int64_t n = (vectors - done + tiles - i - 1) / (tiles - i);
        with_constant<kFewTargets>(row.targets, [&](auto targets) {
            with_constant<kMost>(n, [&](auto v) {
                few_vectors<T, decltype(targets)::value, decltype(v)::value>(row, done * L);
            });
        });
        done += n;
    }
}

void conv_few_row_impl(DType type, const FewRow& row) {
    if (type == DType::Float64) few_row<double>(row);
    else few_row<float>(row);
}

FLB_REGISTER_KERNEL(conv_few_row, &conv_few_row_impl);

}  // namespace FLB_ISA
}  // namespace flb
