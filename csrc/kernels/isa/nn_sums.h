// Sums of mapped elements with vectors of 64 bytes at every instruction set, so that all give the same bits.
#pragma once
#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

// sum over i < n of f(p[i]...); f takes scalars and vectors alike.
template <class T, class F, class... P>
FLB_INLINE T sum_block(int64_t n, F f, const P*... p) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    V a = {}, b = {}, c = {}, d = {};
    int64_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        a += f(load_vec(p + i)...);
        b += f(load_vec(p + i + lanes)...);
        c += f(load_vec(p + i + 2 * lanes)...);
        d += f(load_vec(p + i + 3 * lanes)...);
    }
    for (; i + lanes <= n; i += lanes) a += f(load_vec(p + i)...);
    a = (a + b) + (c + d);
    T lane[lanes];
    __builtin_memcpy(lane, &a, 64);
    for (int k = 0; i < n; ++i, ++k) lane[k] += f(p[i]...);
    for (int w = lanes / 2; w; w /= 2)
        for (int k = 0; k < w; ++k) lane[k] += lane[k + w];
    return lane[0];
}

// The same for any length: blocks are joined in double.
constexpr int64_t kSumBlock = 4096;
template <class T, class F, class... P>
FLB_INLINE double sum_mapped(int64_t n, F f, const P*... p) {
    double total = 0;
    for (int64_t i = 0; i < n; i += kSumBlock)
        total += double(sum_block<T>(n - i < kSumBlock ? n - i : kSumBlock, f, (p + i)...));
    return total;
}

// Sends for the cache lines of p[0 .. n), so that memory works while this row is computed on.
template <class T>
FLB_INLINE void send_for(const T* p, int64_t n) {
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    for (int64_t i = 0; i < n; i += line) __builtin_prefetch(p + i);
}

// Calls a template on the element type.
#define FLB_FLOAT_OR_DOUBLE(dtype, ...)  \
    do {                                 \
        if ((dtype) == DType::Float32) { \
            using T = float;             \
            __VA_ARGS__;                 \
        } else {                         \
            using T = double;            \
            __VA_ARGS__;                 \
        }                                \
    } while (0)

}  // namespace FLB_ISA
}  // namespace flb
