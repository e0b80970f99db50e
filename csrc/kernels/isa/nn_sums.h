// Sums of mapped elements with vectors of 64 bytes at every instruction set, so that all give the same bits.
#pragma once
#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

// The sum of a vector's lanes, halves onto halves.
template <class T>
FLB_INLINE T join_lanes(typename Vec<T>::type v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        const __m512 all = (__m512)v;
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(all),
                                           _mm256_castpd_ps(_mm512_extractf64x4_pd((__m512d)all, 1)));
        __m128 x = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
    }
#endif
    constexpr int lanes = Vec<T>::lanes;
    T lane[lanes];
    __builtin_memcpy(lane, &v, 64);
    for (int w = lanes / 2; w; w /= 2)
        for (int k = 0; k < w; ++k) lane[k] += lane[k + w];
    return lane[0];
}

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
    T rest = 0;
    for (; i < n; ++i) rest += f(p[i]...);
    return join_lanes<T>((a + b) + (c + d)) + rest;
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

// The same for each of a few rows of n elements, one after the other in memory; f is told the row, too.
template <class T, int rows, class F>
FLB_INLINE void sum_rows(double* sums, const T* p, int64_t n, F f) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    for (int k = 0; k < rows; ++k) sums[k] = 0;
    for (int64_t begin = 0; begin < n; begin += kSumBlock) {
        const int64_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
        V a[rows] = {}, b[rows] = {};
        T rest[rows] = {};
        int64_t i = begin;
        for (; i + 2 * lanes <= end; i += 2 * lanes)
            for (int k = 0; k < rows; ++k) {
                a[k] += f(load_vec(p + k * n + i), k);
                b[k] += f(load_vec(p + k * n + i + lanes), k);
            }
        for (; i + lanes <= end; i += lanes)
            for (int k = 0; k < rows; ++k) a[k] += f(load_vec(p + k * n + i), k);
        for (; i < end; ++i)
            for (int k = 0; k < rows; ++k) rest[k] += f(p[k * n + i], k);
        for (int k = 0; k < rows; ++k) sums[k] += double(join_lanes<T>(a[k] + b[k]) + rest[k]);
    }
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
