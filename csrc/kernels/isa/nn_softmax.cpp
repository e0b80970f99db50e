// softmax and log_softmax: three passes over a row that stays in cache, while the next one is sent for, or over a strip of
// columns.
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_avx512.h"
#include "kernels/isa/vmath_exp.h"
#include "kernels/isa/vmath_log.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace FLB_ISA {

constexpr int64_t kChunk = 256;

// e^x for x <= 0: what would be subnormal is 0.
template <class T>
FLB_INLINE T exp_below(T x) {
    constexpr T low = sizeof(T) == 4 ? T(-87) : T(-708);
    const T e = exp_in_range(x < low ? low : x);
    return x < low ? T(0) : e;
}

#if defined(__AVX512F__)
FLB_INLINE __m512 exp_below16(__m512 x) {
    const __mmask16 normal = _mm512_cmp_ps_mask(x, all16(-87), _CMP_NLT_UQ);
    const __m512 n = exp_exponent16(x), high = _mm512_fnmadd_ps(n, all16(Fp<float>::kLn2Hi), x);
    const __m512 r = _mm512_fnmadd_ps(n, all16(Fp<float>::kLn2Lo), high);
    return _mm512_maskz_scalef_ps(normal, _mm512_fmadd_ps(expm1_over16(r), r, all16(1)), n);
}
#endif

// The largest element that is a number: what is none comes out of exp, and so of the row's sum.
struct LargestNumber {
    template <class V>
    static FLB_INLINE V apply(V a, V b) {
        return b > a ? b : a;
    }
    template <class A>
    static FLB_INLINE A identity() {
        return Limits<A>::lowest;
    }
};

// e[i] = exp(x[i] - top), where they are wanted; their sum.
template <class T>
FLB_INLINE double exp_sum_chunk(T* __restrict e, const T* __restrict x, T top, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        const __m512 shift = all16(top);
        __m512 a = all16(0), b = all16(0);
        int64_t i = 0;
        for (; i + 32 <= n; i += 32) {
            const __m512 y = exp_below16(_mm512_sub_ps(_mm512_loadu_ps(x + i), shift)),
                         z = exp_below16(_mm512_sub_ps(_mm512_loadu_ps(x + i + 16), shift));
            a = _mm512_add_ps(a, y);
            b = _mm512_add_ps(b, z);
            if (e) {
                _mm512_storeu_ps(e + i, y);
                _mm512_storeu_ps(e + i + 16, z);
            }
        }
        for (; i < n; i += 16) {
            const __mmask16 rest = __mmask16(n - i < 16 ? (1u << (n - i)) - 1 : 0xffffu);
            const __m512 y = exp_below16(_mm512_sub_ps(_mm512_maskz_loadu_ps(rest, x + i), shift));
            a = _mm512_mask_add_ps(a, rest, a, y);
            if (e) _mm512_mask_storeu_ps(e + i, rest, y);
        }
        return double(_mm512_reduce_add_ps(_mm512_add_ps(a, b)));
    }
#endif
    T scratch[kChunk];
    if (!e) e = scratch;
    for (int64_t i = 0; i < n; ++i) e[i] = exp_below(x[i] - top);
    return double(fold_values<AddOp>(static_cast<const T*>(e), n));
}
// The same for any length. `next` is what will be read then.
template <class T, bool keep>
FLB_INLINE double exp_sum(T* __restrict out, const T* __restrict in, T top, int64_t n, const T* next) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t count = n - begin < kChunk ? n - begin : kChunk;
        send_for(next + begin, count);
        total += exp_sum_chunk<T>(keep ? out + begin : nullptr, in + begin, top, count);
    }
    return total;
}

template <class T>
FLB_INLINE T largest_number(const T* x, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        // The second operand where one is a NaN.
        const __m512 lowest = all16(Limits<float>::lowest);
        __m512 a = lowest, b = lowest, c = lowest, d = lowest;
        int64_t i = 0;
        for (; i + 64 <= n; i += 64) {
            a = _mm512_max_ps(_mm512_loadu_ps(x + i), a);
            b = _mm512_max_ps(_mm512_loadu_ps(x + i + 16), b);
            c = _mm512_max_ps(_mm512_loadu_ps(x + i + 32), c);
            d = _mm512_max_ps(_mm512_loadu_ps(x + i + 48), d);
        }
        for (; i < n; i += 16) {
            const __mmask16 rest = __mmask16(n - i < 16 ? (1u << (n - i)) - 1 : 0xffffu);
            a = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, rest, x + i), a);
        }
        return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
    }
#endif
    return fold_values<LargestNumber>(x, n);
}

// A few rows after each other: what one waits for (the largest element, the sum) comes while another is computed on.
constexpr int kTogether = 2;
template <class T, int rows>
void softmax_rows(T* __restrict out, const T* __restrict in, int64_t n, bool log, const T* next) {
    T top[rows], shift[rows];
    for (int k = 0; k < rows; ++k) top[k] = largest_number(in + k * n, n);
    for (int k = 0; k < rows; ++k) {
        const T *from = in + k * n, *then = next + k * n;
        shift[k] = log ? T(vlog(exp_sum<T, false>(nullptr, from, top[k], n, then)))
                       : T(1.0 / exp_sum<T, true>(out + k * n, from, top[k], n, then));
    }
    for (int k = 0; k < rows; ++k, in += n, out += n) {
        const T first = top[k], second = shift[k];
        if (log)
            for (int64_t i = 0; i < n; ++i) out[i] = (in[i] - first) - second;
        else
            for (int64_t i = 0; i < n; ++i) out[i] *= second;
    }
}

// `width` columns of n rows, `stride` elements apart.
template <class T>
void softmax_strip(T* __restrict out, const T* __restrict in, int64_t n, int64_t stride, int64_t width,
                   bool log) {
    T top[kSoftmaxColumns], sum[kSoftmaxColumns], part[kSoftmaxColumns];
    for (int64_t j = 0; j < width; ++j) top[j] = -Fp<T>::kInf, sum[j] = 0;
    for (int64_t k = 0; k < n; ++k) {
        const T* __restrict x = in + k * stride;
        for (int64_t j = 0; j < width; ++j) top[j] = ((x[j] > top[j]) | (x[j] != x[j])) ? x[j] : top[j];
    }
    for (int64_t begin = 0; begin < n; begin += 64) {
        const int64_t end = n - begin < 64 ? n : begin + 64;
        for (int64_t j = 0; j < width; ++j) part[j] = 0;
        for (int64_t k = begin; k < end; ++k) {
            const T* __restrict x = in + k * stride;
            T* __restrict y = out + k * stride;
            for (int64_t j = 0; j < width; ++j) {
                const T e = exp_below(x[j] - top[j]);
                part[j] += e;
                y[j] = e;
            }
        }
        for (int64_t j = 0; j < width; ++j) sum[j] += part[j];
    }
    if (log)
        for (int64_t j = 0; j < width; ++j) sum[j] = vlog(sum[j]);
    else
        for (int64_t j = 0; j < width; ++j) sum[j] = T(1) / sum[j];
    for (int64_t k = 0; k < n; ++k) {
        const T* __restrict x = in + k * stride;
        T* __restrict y = out + k * stride;
        if (log)
            for (int64_t j = 0; j < width; ++j) y[j] = (x[j] - top[j]) - sum[j];
        else
            for (int64_t j = 0; j < width; ++j) y[j] *= sum[j];
    }
}

// grad - exp(out) * sum
template <class T>
FLB_INLINE void subtract_shares(T* __restrict grad_in, const T* __restrict grad, const T* __restrict out,
                                T sum, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        for (; i + 16 <= n; i += 16)
            _mm512_storeu_ps(grad_in + i, _mm512_fnmadd_ps(exp_below16(_mm512_loadu_ps(out + i)), all16(sum),
                                                           _mm512_loadu_ps(grad + i)));
#endif
    for (; i < n; ++i) grad_in[i] = grad[i] - exp_below(out[i]) * sum;
}
template <class T>
void softmax_row_backward(T* __restrict grad_in, const T* __restrict grad, const T* __restrict out, int64_t n,
                          bool log, const T* next_grad, const T* next_out) {
    const T sum = log ? T(sum_mapped<T>(
                            n, [](auto g) { return g; }, grad))
                      : T(sum_mapped<T>(n, [](auto g, auto y) { return g * y; }, grad, out));
    for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t end = n - begin < kChunk ? n : begin + kChunk;
        send_for(next_grad + begin, end - begin);
        send_for(next_out + begin, end - begin);
        if (log) subtract_shares(grad_in + begin, grad + begin, out + begin, sum, end - begin);
        else
            for (int64_t i = begin; i < end; ++i) grad_in[i] = (grad[i] - sum) * out[i];
    }
}

template <class T>
void softmax_strip_backward(T* __restrict grad_in, const T* __restrict grad, const T* __restrict out,
                            int64_t n, int64_t stride, int64_t width, bool log) {
    T sum[kSoftmaxColumns], part[kSoftmaxColumns];
    for (int64_t j = 0; j < width; ++j) sum[j] = 0;
    for (int64_t begin = 0; begin < n; begin += 64) {
        const int64_t end = n - begin < 64 ? n : begin + 64;
        for (int64_t j = 0; j < width; ++j) part[j] = 0;
        for (int64_t k = begin; k < end; ++k) {
            const T* __restrict g = grad + k * stride, * __restrict y = out + k * stride;
            if (log)
                for (int64_t j = 0; j < width; ++j) part[j] += g[j];
            else
                for (int64_t j = 0; j < width; ++j) part[j] += g[j] * y[j];
        }
        for (int64_t j = 0; j < width; ++j) sum[j] += part[j];
    }
    for (int64_t k = 0; k < n; ++k) {
        const T* __restrict g = grad + k * stride, * __restrict y = out + k * stride;
        T* __restrict d = grad_in + k * stride;
        if (log)
            for (int64_t j = 0; j < width; ++j) d[j] = g[j] - exp_below(y[j]) * sum[j];
        else
            for (int64_t j = 0; j < width; ++j) d[j] = (g[j] - sum[j]) * y[j];
    }
}

// Calls row(offset, next row's offset) or strip(offset, width) for units [begin, end), or from the last to the first.
template <class Row, class Strip>
FLB_INLINE void over_units(const SoftmaxShape& s, int64_t begin, int64_t end, bool backward, Row row,
                           Strip strip) {
    const int64_t strips = (s.inner + kSoftmaxColumns - 1) / kSoftmaxColumns;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t u = backward ? end - 1 - (i - begin) : i, next = i + 1 == end ? u
                                                                       : backward   ? u - 1
                                                                                    : u + 1;
        if (s.inner == 1) {
            row(u * s.n, next * s.n);
        } else {
            const int64_t first = u % strips * kSoftmaxColumns;
            strip(u / strips * s.n * s.inner + first,
                  s.inner - first < kSoftmaxColumns ? s.inner - first : kSoftmaxColumns);
        }
    }
}

template <class T>
void forward(const SoftmaxShape& s, const T* in, T* out, int64_t begin, int64_t end) {
    const int64_t pairs = s.inner == 1 ? (end - begin) / kTogether : 0;
    for (int64_t i = 0; i < pairs; ++i) {
        const int64_t at = (begin + i * kTogether) * s.n, next = i + 1 < pairs ? at + kTogether * s.n : at;
        softmax_rows<T, kTogether>(out + at, in + at, s.n, s.log, in + next);
    }
    over_units(
        s, begin + pairs * kTogether, end, false,
        [&](int64_t at, int64_t next) { softmax_rows<T, 1>(out + at, in + at, s.n, s.log, in + next); },
        [&](int64_t at, int64_t width) { softmax_strip(out + at, in + at, s.n, s.inner, width, s.log); });
}
// Begins where forward ended, with what is still in the cache.
template <class T>
void backward(const SoftmaxShape& s, const T* grad, const T* out, T* grad_in, int64_t begin, int64_t end) {
    over_units(
        s, begin, end, true,
        [&](int64_t at, int64_t next) {
            softmax_row_backward(grad_in + at, grad + at, out + at, s.n, s.log, grad + next, out + next);
        },
        [&](int64_t at, int64_t width) {
            softmax_strip_backward(grad_in + at, grad + at, out + at, s.n, s.inner, width, s.log);
        });
}

void softmax_forward_any(DType dtype, const SoftmaxShape& s, const void* in, void* out, int64_t begin,
                         int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, forward(s, static_cast<const T*>(in), static_cast<T*>(out), begin, end));
}
void softmax_backward_any(DType dtype, const SoftmaxShape& s, const void* grad, const void* out,
                          void* grad_in, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, backward(s, static_cast<const T*>(grad), static_cast<const T*>(out),
                                        static_cast<T*>(grad_in), begin, end));
}

template <class T>
void lse_rows(const T* in, T* lse, int64_t n, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
        const T *row = in + r * n, *next = r + 1 < end ? row + n : row;
        const T top = largest_number(row, n);
        lse[r] = T(double(top) + vlog(exp_sum<T, false>(nullptr, row, top, n, next)));
    }
}
void lse_rows_any(DType dtype, const void* in, void* lse, int64_t n, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, lse_rows(static_cast<const T*>(in), static_cast<T*>(lse), n, begin, end));
}

template <class T>
void scaled_rows(const T* in, const T* lse, const T* scale, T* out, int64_t n, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
        const T* __restrict x = in + r * n;
        T* __restrict y = out + r * n;
        const T shift = lse[r], k = scale[r];
        if (k == T(0))  // exp may be inf or nan, but what is not counted has no gradient
            for (int64_t i = 0; i < n; ++i) y[i] = T(0);
        else
            for (int64_t i = 0; i < n; ++i) y[i] = exp_below(x[i] - shift) * k;
    }
}
void scaled_rows_any(DType dtype, const void* in, const void* lse, const void* scale, void* out, int64_t n,
                     int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype,
                        scaled_rows(static_cast<const T*>(in), static_cast<const T*>(lse),
                                    static_cast<const T*>(scale), static_cast<T*>(out), n, begin, end));
}

FLB_REGISTER_KERNEL(scaled_softmax_rows, &scaled_rows_any);
FLB_REGISTER_KERNEL(softmax_forward, &softmax_forward_any);
FLB_REGISTER_KERNEL(softmax_backward, &softmax_backward_any);
FLB_REGISTER_KERNEL(log_sum_exp_rows, &lse_rows_any);

}  // namespace FLB_ISA
}  // namespace flb
