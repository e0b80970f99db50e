// Layer and batch normalisation: sums per row or per channel, and the maps that use them.
#include "kernels/isa/nn_sum_pair.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace FLB_ISA {

// ---- rows ----------------------------------------------------------------------------------------------------------

// The rows' next one is sent for in parts of this many elements, between the parts of the work on this one.
constexpr int64_t kRowPart = 256;

// y = map(i) for a row, while `next` is sent for.
template <class T, class F>
FLB_INLINE void map_row(T* __restrict y, int64_t n, const T* next, F map) {
    for (int64_t begin = 0; begin < n; begin += kRowPart) {
        const int64_t end = n - begin < kRowPart ? n : begin + kRowPart;
        send_for(next + begin, end - begin);
        for (int64_t i = begin; i < end; ++i) y[i] = map(i);
    }
}

template <class T>
void rows_forward(const RowNorm& a, int64_t begin, int64_t end) {
    const T *w = static_cast<const T*>(a.weight), *b = static_cast<const T*>(a.bias);
    const int64_t n = a.n;
    for (int64_t r = begin; r < end; ++r) {
        const T *x = static_cast<const T*>(a.input) + r * n, *next = r + 1 < end ? x + n : x;
        T* y = static_cast<T*>(a.output) + r * n;
        const T mean = a.centred ? T(sum_mapped<T>(n, [](auto v) { return v; }, x) / double(n)) : T(0);
        const double square = sum_mapped<T>(n, [mean](auto v) { return (v - mean) * (v - mean); }, x);
        const T rstd = T(1.0 / vsqrt(square / double(n) + a.eps));
        if (a.centred) static_cast<T*>(a.mean)[r] = mean;
        static_cast<T*>(a.rstd)[r] = rstd;
        if (w && b) map_row(y, n, next, [=](int64_t i) { return (x[i] - mean) * rstd * w[i] + b[i]; });
        else if (w) map_row(y, n, next, [=](int64_t i) { return (x[i] - mean) * rstd * w[i]; });
        else if (b) map_row(y, n, next, [=](int64_t i) { return (x[i] - mean) * rstd + b[i]; });
        else map_row(y, n, next, [=](int64_t i) { return (x[i] - mean) * rstd; });
    }
}

// One pass over a row of g, x and (if `weighted`) w: adds g (x - mean) rstd to dw and g to db, where they are there, and
// returns the sums of g w and g w (x - mean).
template <class T, bool weighted, bool by_weight, bool by_bias>
Sums row_pass(int64_t n, const T* g, const T* x, const T* w, T mean, T rstd, T* dw, T* db) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    Sums total{0, 0};
    const auto step = [&]<class U>(int64_t i, U& first, U& second) __attribute__((always_inline)) {
        const auto get = [i](const T* p) {
            U u;
            __builtin_memcpy(&u, p + i, sizeof(U));
            return u;
        };
        const auto add = [i, get](T* p, U more) {
            const U u = get(p) + more;
            __builtin_memcpy(p + i, &u, sizeof(U));
        };
        const U gi = get(g), product = gi * (get(x) - mean);
        if constexpr (by_weight) add(dw, product * rstd);
        if constexpr (by_bias) add(db, gi);
        if constexpr (weighted) {
            const U wi = get(w);
            first += gi * wi;
            second += product * wi;
        } else {
            first += gi;
            second += product;
        }
    };
    for (int64_t begin = 0; begin < n; begin += kSumBlock) {
        const int64_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
        V a = {}, b = {}, c = {}, d = {};
        int64_t i = begin;
        for (; i + 2 * lanes <= end; i += 2 * lanes) {
            step(i, a, c);
            step(i + lanes, b, d);
        }
        for (; i + lanes <= end; i += lanes) step(i, a, c);
        a += b;
        c += d;
        T first[lanes], second[lanes];
        __builtin_memcpy(first, &a, sizeof(first));
        __builtin_memcpy(second, &c, sizeof(second));
        for (int k = 0; i < end; ++i, ++k) step(i, first[k], second[k]);
        for (int half = lanes / 2; half; half /= 2)
            for (int k = 0; k < half; ++k) {
                first[k] += first[k + half];
                second[k] += second[k + half];
            }
        total.first += double(first[0]);
        total.second += double(second[0]);
    }
    return total;
}
template <class T, bool weighted>
FLB_INLINE auto find_row_pass(bool by_weight, bool by_bias) {
    return by_weight ? by_bias ? row_pass<T, weighted, true, true> : row_pass<T, weighted, true, false>
           : by_bias ? row_pass<T, weighted, false, true>
                     : row_pass<T, weighted, false, false>;
}

template <class T>
void rows_backward(const RowNormBackward& a, int64_t begin, int64_t end) {
    const int64_t n = a.n;
    const T* w = static_cast<const T*>(a.weight);
    T *dw = static_cast<T*>(a.grad_weight), *db = static_cast<T*>(a.grad_bias);
    if (dw) __builtin_memset(dw, 0, size_t(n) * sizeof(T));
    if (db) __builtin_memset(db, 0, size_t(n) * sizeof(T));
    const auto pass = w ? find_row_pass<T, true>(dw, db) : find_row_pass<T, false>(dw, db);
    for (int64_t r = begin; r < end; ++r) {
        const T *x = static_cast<const T*>(a.input) + r * n, *g = static_cast<const T*>(a.grad) + r * n;
        const T mean = a.centred ? static_cast<const T*>(a.mean)[r] : T(0),
                rstd = static_cast<const T*>(a.rstd)[r];
        const Sums sums = pass(n, g, x, w, mean, rstd, dw, db);
        if (!a.grad_input) continue;
        T* dx = static_cast<T*>(a.grad_input) + r * n;
        const T offset = a.centred ? T(sums.first / double(n)) : T(0),
                slope = T(sums.second / double(n)) * rstd * rstd;
        const int64_t ahead = r + 1 < end ? n : 0;
        for (int64_t from = 0; from < n; from += kRowPart) {
            const int64_t count = n - from < kRowPart ? n - from : kRowPart;
            send_for(g + ahead + from, count);
            const auto gradient = [=](int64_t i, T gi) {
                return (gi - offset - (x[i] - mean) * slope) * rstd;
            };
            T* __restrict to = dx + from;
            if (w)
                map_row(to, count, x + ahead + from,
                        [=](int64_t i) { return gradient(from + i, g[from + i] * w[from + i]); });
            else
                map_row(to, count, x + ahead + from,
                        [=](int64_t i) { return gradient(from + i, g[from + i]); });
        }
    }
}

void layer_norm_forward_any(DType dtype, const RowNorm& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, rows_forward<T>(a, begin, end));
}
void layer_norm_backward_any(DType dtype, const RowNormBackward& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, rows_backward<T>(a, begin, end));
}
FLB_REGISTER_KERNEL(layer_norm_forward, &layer_norm_forward_any);
FLB_REGISTER_KERNEL(layer_norm_backward, &layer_norm_backward_any);

// ---- channels as planes ----------------------------------------------------------------------------------------------

template <class T>
void plane_sums(const ChannelShape& s, const T* x, const double* center, double* sums, int64_t begin,
                int64_t end) {
    for (int64_t c = begin; c < end; ++c)
        for (int64_t b = 0; b < s.batch; ++b) {
            const T* p = x + (b * s.channels + c) * s.length;
            if (center) {
                const T m = T(center[c]);
                sums[c] += sum_mapped<T>(s.length, [m](auto v) { return (v - m) * (v - m); }, p);
            } else {
                sums[c] += sum_mapped<T>(s.length, [](auto v) { return v; }, p);
            }
        }
}
template <class T>
void plane_products(const ChannelShape& s, const T* grad, const T* x, const double* center, double* sums,
                    double* products, int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
        for (int64_t b = 0; b < s.batch; ++b) {
            const int64_t at = (b * s.channels + c) * s.length;
            const T m = T(center[c]);
            const auto [sum, product] = sum_pair<T>(
                s.length, [](auto g, auto) { return g; }, [m](auto g, auto v) { return g * (v - m); },
                grad + at, x + at);
            sums[c] += sum;
            products[c] += product;
        }
}

// ---- channels as columns: strips of columns, 32 rows at a time in T, joined in double ---------------------------------

constexpr int64_t kStrip = 256, kStripRows = 32;

template <class T>
void matrix_sums(const ChannelShape& s, const T* x, const double* center, double* sums, int64_t begin,
                 int64_t end) {
    T part[kStrip], m[kStrip];
    for (int64_t j0 = 0; j0 < s.channels; j0 += kStrip) {
        const int64_t width = s.channels - j0 < kStrip ? s.channels - j0 : kStrip;
        if (center)
            for (int64_t j = 0; j < width; ++j) m[j] = T(center[j0 + j]);
        for (int64_t r0 = begin; r0 < end; r0 += kStripRows) {
            for (int64_t j = 0; j < width; ++j) part[j] = 0;
            for (int64_t r = r0; r < end && r < r0 + kStripRows; ++r) {
                const T* __restrict p = x + r * s.channels + j0;
                if (center)
                    for (int64_t j = 0; j < width; ++j) part[j] += (p[j] - m[j]) * (p[j] - m[j]);
                else
                    for (int64_t j = 0; j < width; ++j) part[j] += p[j];
            }
            for (int64_t j = 0; j < width; ++j) sums[j0 + j] += double(part[j]);
        }
    }
}
template <class T>
void matrix_products(const ChannelShape& s, const T* grad, const T* x, const double* center, double* sums,
                     double* products, int64_t begin, int64_t end) {
    T part[kStrip], product[kStrip], m[kStrip];
    for (int64_t j0 = 0; j0 < s.channels; j0 += kStrip) {
        const int64_t width = s.channels - j0 < kStrip ? s.channels - j0 : kStrip;
        for (int64_t j = 0; j < width; ++j) m[j] = T(center[j0 + j]);
        for (int64_t r0 = begin; r0 < end; r0 += kStripRows) {
            for (int64_t j = 0; j < width; ++j) part[j] = product[j] = 0;
            for (int64_t r = r0; r < end && r < r0 + kStripRows; ++r) {
                const T* __restrict g = grad + r * s.channels + j0, * __restrict p = x + r * s.channels + j0;
                for (int64_t j = 0; j < width; ++j) {
                    part[j] += g[j];
                    product[j] += g[j] * (p[j] - m[j]);
                }
            }
            for (int64_t j = 0; j < width; ++j) {
                sums[j0 + j] += double(part[j]);
                products[j0 + j] += double(product[j]);
            }
        }
    }
}

// ---- maps ------------------------------------------------------------------------------------------------------------

template <class T>
void affine(const ChannelShape& s, const T* x, const double* center, const double* scale, const double* shift,
            T* out, int64_t begin, int64_t end) {
    const int64_t length =
        s.length;  // a store might change what is behind a reference, for all the compiler knows
    if (length > 1) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t c = p % s.channels;
            const T m = T(center[c]), k = T(scale[c]), b = T(shift[c]);
            const T* __restrict in = x + p * length;
            T* __restrict y = out + p * length;
            for (int64_t i = 0; i < length; ++i) y[i] = (in[i] - m) * k + b;
        }
        return;
    }
    T m[kStrip], k[kStrip], b[kStrip];
    for (int64_t j0 = 0; j0 < s.channels; j0 += kStrip) {
        const int64_t width = s.channels - j0 < kStrip ? s.channels - j0 : kStrip;
        for (int64_t j = 0; j < width; ++j)
            m[j] = T(center[j0 + j]), k[j] = T(scale[j0 + j]), b[j] = T(shift[j0 + j]);
        for (int64_t r = begin; r < end; ++r) {
            const T* __restrict in = x + r * s.channels + j0;
            T* __restrict y = out + r * s.channels + j0;
            for (int64_t j = 0; j < width; ++j) y[j] = (in[j] - m[j]) * k[j] + b[j];
        }
    }
}
template <class T>
void gradient(const ChannelShape& s, const T* grad, const T* x, const double* center, const double* slope,
              const double* offset, const double* scale, T* out, int64_t begin, int64_t end) {
    const int64_t length = s.length;
    if (length > 1) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t c = p % s.channels;
            const T m = T(center[c]), k = T(slope[c]), o = T(offset[c]), f = T(scale[c]);
            const T* __restrict g = grad + p * length, * __restrict in = x + p * length;
            T* __restrict y = out + p * length;
            for (int64_t i = 0; i < length; ++i) y[i] = (g[i] - (in[i] - m) * k - o) * f;
        }
        return;
    }
    T m[kStrip], k[kStrip], o[kStrip], f[kStrip];
    for (int64_t j0 = 0; j0 < s.channels; j0 += kStrip) {
        const int64_t width = s.channels - j0 < kStrip ? s.channels - j0 : kStrip;
        for (int64_t j = 0; j < width; ++j) {
            m[j] = T(center[j0 + j]), k[j] = T(slope[j0 + j]);
            o[j] = T(offset[j0 + j]), f[j] = T(scale[j0 + j]);
        }
        for (int64_t r = begin; r < end; ++r) {
            const T* __restrict g = grad + r * s.channels + j0, * __restrict in = x + r * s.channels + j0;
            T* __restrict y = out + r * s.channels + j0;
            for (int64_t j = 0; j < width; ++j) y[j] = (g[j] - (in[j] - m[j]) * k[j] - o[j]) * f[j];
        }
    }
}

void channel_sums_any(DType dtype, const ChannelShape& s, const void* x, const double* center, double* sums,
                      int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, plane_sums(s, static_cast<const T*>(x), center, sums, begin, end));
}
void column_sums_any(DType dtype, const ChannelShape& s, const void* x, const double* center, double* sums,
                     int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, matrix_sums(s, static_cast<const T*>(x), center, sums, begin, end));
}
void channel_products_any(DType dtype, const ChannelShape& s, const void* grad, const void* x,
                          const double* center, double* sums, double* products, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, plane_products(s, static_cast<const T*>(grad), static_cast<const T*>(x),
                                              center, sums, products, begin, end));
}
void column_products_any(DType dtype, const ChannelShape& s, const void* grad, const void* x,
                         const double* center, double* sums, double* products, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, matrix_products(s, static_cast<const T*>(grad), static_cast<const T*>(x),
                                               center, sums, products, begin, end));
}
void channel_affine_any(DType dtype, const ChannelShape& s, const void* x, const double* center,
                        const double* scale, const double* shift, void* out, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(
        dtype, affine(s, static_cast<const T*>(x), center, scale, shift, static_cast<T*>(out), begin, end));
}
void channel_gradient_any(DType dtype, const ChannelShape& s, const void* grad, const void* x,
                          const double* center, const double* slope, const double* offset,
                          const double* scale, void* out, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, gradient(s, static_cast<const T*>(grad), static_cast<const T*>(x), center,
                                        slope, offset, scale, static_cast<T*>(out), begin, end));
}
FLB_REGISTER_KERNEL(channel_sums, &channel_sums_any);
FLB_REGISTER_KERNEL(column_sums, &column_sums_any);
FLB_REGISTER_KERNEL(channel_products, &channel_products_any);
FLB_REGISTER_KERNEL(column_products, &column_products_any);
FLB_REGISTER_KERNEL(channel_affine, &channel_affine_any);
FLB_REGISTER_KERNEL(channel_gradient, &channel_gradient_any);

}  // namespace FLB_ISA
}  // namespace flb
