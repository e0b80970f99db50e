// Two sums of mapped elements in one pass.
#pragma once
#include "kernels/isa/nn_sums.h"

namespace flb {
namespace FLB_ISA {

struct Sums {
    double first, second;
};
template <class T, class F, class G, class... P>
FLB_INLINE Sums sum_pair_block(int64_t n, F f, G g, const P*... p) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    V a = {}, b = {}, c = {}, d = {};
    int64_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        a += f(load_vec(p + i)...);
        c += g(load_vec(p + i)...);
        b += f(load_vec(p + i + lanes)...);
        d += g(load_vec(p + i + lanes)...);
    }
    for (; i + lanes <= n; i += lanes) {
        a += f(load_vec(p + i)...);
        c += g(load_vec(p + i)...);
    }
    a += b;
    c += d;
    T first[lanes], second[lanes];
    __builtin_memcpy(first, &a, 64);
    __builtin_memcpy(second, &c, 64);
    for (int k = 0; i < n; ++i, ++k) {
        first[k] += f(p[i]...);
        second[k] += g(p[i]...);
    }
    for (int w = lanes / 2; w; w /= 2)
        for (int k = 0; k < w; ++k) {
            first[k] += first[k + w];
            second[k] += second[k + w];
        }
    return {double(first[0]), double(second[0])};
}
template <class T, class F, class G, class... P>
FLB_INLINE Sums sum_pair(int64_t n, F f, G g, const P*... p) {
    Sums total{0, 0};
    for (int64_t i = 0; i < n; i += kSumBlock) {
        const Sums part = sum_pair_block<T>(n - i < kSumBlock ? n - i : kSumBlock, f, g, (p + i)...);
        total.first += part.first;
        total.second += part.second;
    }
    return total;
}

}  // namespace FLB_ISA
}  // namespace flb
