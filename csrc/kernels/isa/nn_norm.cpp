// Layer and batch normalisation: sums per row or per channel, and the maps that use them.
#include "kernels/isa/nn_sum_pair.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace FLB_ISA {

// ---- rows ----------------------------------------------------------------------------------------------------------

// The element at i of an array, or the vector that begins there.
template <class U>
struct At {
    int64_t i;
    template <class T>
    FLB_INLINE U operator()(const T* p) const {
        U u;
        __builtin_memcpy(&u, p + i, sizeof(U));
        return u;
    }
};

// y = map(At) for a row, while `next` is sent for.
template <class T, class F>
FLB_INLINE void map_row(T* y, int64_t n, const T* next, F map) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    int64_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        send_for(next + i, 2 * lanes);
        const V first = map(At<V>{i}), second = map(At<V>{i + lanes});
        __builtin_memcpy(y + i, &first, sizeof(V));
        __builtin_memcpy(y + i + lanes, &second, sizeof(V));
    }
    for (; i < n; ++i) y[i] = map(At<T>{i});
}

// Rows are worked on in pairs: what one waits for (the joining of lanes, the root) overlaps with the other's sums, and the
// sums over rows go through memory half as often. A row's result does not depend on its partner.
constexpr int kPair = 2;

template <class T, int rows>
void rows_forward(const RowNorm& a, int64_t r, const T* next) {
    const T *w = static_cast<const T*>(a.weight), *b = static_cast<const T*>(a.bias);
    const int64_t n = a.n;
    const T* x = static_cast<const T*>(a.input) + r * n;
    T mean[rows] = {}, rstd[rows];
    if (a.centred) {
        double sum[rows];
        sum_rows<T, rows>(sum, x, n, [](auto v, int) { return v; });
        for (int k = 0; k < rows; ++k) static_cast<T*>(a.mean)[r + k] = mean[k] = T(sum[k] / double(n));
    }
    double square[rows];
    sum_rows<T, rows>(square, x, n, [&](auto v, int k) { return (v - mean[k]) * (v - mean[k]); });
    for (int k = 0; k < rows; ++k)
        static_cast<T*>(a.rstd)[r + k] = rstd[k] = T(1.0 / vsqrt(square[k] / double(n) + a.eps));
    for (int k = 0; k < rows; ++k, x += n, next += n) {
        T* y = static_cast<T*>(a.output) + (r + k) * n;
        const T m = mean[k], d = rstd[k];
        if (w && b) map_row(y, n, next, [=](auto at) { return (at(x) - m) * d * at(w) + at(b); });
        else if (w) map_row(y, n, next, [=](auto at) { return (at(x) - m) * d * at(w); });
        else if (b) map_row(y, n, next, [=](auto at) { return (at(x) - m) * d + at(b); });
        else map_row(y, n, next, [=](auto at) { return (at(x) - m) * d; });
    }
}

template <class T>
void all_rows_forward(const RowNorm& a, int64_t begin, int64_t end) {
    const T* x = static_cast<const T*>(a.input);
    int64_t r = begin;
    for (; r + kPair <= end; r += kPair)
        rows_forward<T, kPair>(a, r, x + (r + 2 * kPair <= end ? r + kPair : r) * a.n);
    for (; r < end; ++r) rows_forward<T, 1>(a, r, x + r * a.n);
}

// Keeps a vector in its register, where the compiler would rather load it again for every use.
template <class U>
FLB_INLINE void hold([[maybe_unused]] U& u) {
#if defined(__AVX512F__)
    if constexpr (sizeof(U) == 64) __asm__("" : "+v"(u));
#endif
}

// One pass over a few rows of g, x and (if `weighted`) over w: adds g (x - mean) rstd to dw and g to db, where they are
// there, row by row, and gives each row's sums of g w and g w (x - mean).
// Meanwhile the lines of as many rows at `soon` and `later` are sent for.
template <class T, int rows, bool weighted, bool by_weight, bool by_bias>
void row_pass(Sums* sums, int64_t n, const T* g, const T* x, const T* w, const T* mean, const T* rstd, T* dw,
              T* db, const T* soon, const T* later) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes;
    const auto step = [&]<class U>(int64_t i, U* first, U* second, const U* means, const U* scales)
                          __attribute__((always_inline)) {
                              const auto get = [i](const T* p) __attribute__((always_inline)) {
                                  U u;
                                  __builtin_memcpy(&u, p + i, sizeof(U));
                                  return u;
                              };
                              U by_w{}, by_b{}, wi{};
                              if constexpr (by_weight) by_w = get(dw);
                              if constexpr (by_bias) by_b = get(db);
                              if constexpr (weighted) wi = get(w), hold(wi);
                              for (int k = 0; k < rows; ++k) {
                                  U gi = get(g + k * n);
                                  hold(gi);
                                  const U product = gi * (get(x + k * n) - means[k]);
                                  if constexpr (by_weight) by_w += product * scales[k];
                                  if constexpr (by_bias) by_b += gi;
                                  if constexpr (weighted) {
                                      first[k] += gi * wi;
                                      second[k] += product * wi;
                                  } else {
                                      first[k] += gi;
                                      second[k] += product;
                                  }
                              }
                              if constexpr (by_weight) __builtin_memcpy(dw + i, &by_w, sizeof(U));
                              if constexpr (by_bias) __builtin_memcpy(db + i, &by_b, sizeof(U));
                          };
    V means[rows], scales[rows];
    for (int k = 0; k < rows; ++k) {
        sums[k] = {0, 0};
        means[k] = mean[k] - V{};
        scales[k] = rstd[k] - V{};
        hold(means[k]);
        hold(scales[k]);
    }
    for (int64_t begin = 0; begin < n; begin += kSumBlock) {
        const int64_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
        V a[rows] = {}, b[rows] = {}, c[rows] = {}, d[rows] = {};
        int64_t i = begin;
        for (; i + 2 * lanes <= end; i += 2 * lanes) {
            for (int k = 0; k < rows; ++k) {
                send_for(soon + k * n + i, 2 * lanes);
                send_for(later + k * n + i, 2 * lanes);
            }
            step(i, a, c, means, scales);
            step(i + lanes, b, d, means, scales);
        }
        for (; i + lanes <= end; i += lanes) step(i, a, c, means, scales);
        T first[rows] = {}, second[rows] = {};
        for (; i < end; ++i) step(i, first, second, mean, rstd);
        for (int k = 0; k < rows; ++k) {
            sums[k].first += double(join_lanes<T>(a[k] + b[k]) + first[k]);
            sums[k].second += double(join_lanes<T>(c[k] + d[k]) + second[k]);
        }
    }
}
template <class T, int rows, bool weighted>
FLB_INLINE auto find_row_pass(bool by_weight, bool by_bias) {
    return by_weight
               ? by_bias ? row_pass<T, rows, weighted, true, true> : row_pass<T, rows, weighted, true, false>
           : by_bias ? row_pass<T, rows, weighted, false, true>
                     : row_pass<T, rows, weighted, false, false>;
}

// `ahead`: how many elements further the rows begin that come next.
template <class T, int rows>
void rows_backward(const RowNormBackward& a, int64_t r, int64_t ahead) {
    const int64_t n = a.n;
    const T* w = static_cast<const T*>(a.weight);
    T *dw = static_cast<T*>(a.grad_weight), *db = static_cast<T*>(a.grad_bias);
    const T *x = static_cast<const T*>(a.input) + r * n, *g = static_cast<const T*>(a.grad) + r * n;
    const T* rstd = static_cast<const T*>(a.rstd) + r;
    T mean[rows] = {};
    if (a.centred)
        for (int k = 0; k < rows; ++k) mean[k] = static_cast<const T*>(a.mean)[r + k];
    Sums sums[rows];
    const auto pass = w ? find_row_pass<T, rows, true>(dw, db) : find_row_pass<T, rows, false>(dw, db);
    const T* to = a.grad_input ? static_cast<const T*>(a.grad_input) + r * n : g;
    pass(sums, n, g, x, w, mean, rstd, dw, db, to, g + ahead);
    if (!a.grad_input) return;
    for (int k = 0; k < rows; ++k, x += n, g += n) {
        T* dx = static_cast<T*>(a.grad_input) + (r + k) * n;
        const T m = mean[k], d = rstd[k], offset = a.centred ? T(sums[k].first / double(n)) : T(0),
                slope = T(sums[k].second / double(n)) * d * d;
        const auto gradient = [=](auto gi, auto xi) { return (gi - offset - (xi - m) * slope) * d; };
        if (w) map_row(dx, n, x + ahead, [=](auto at) { return gradient(at(g) * at(w), at(x)); });
        else map_row(dx, n, x + ahead, [=](auto at) { return gradient(at(g), at(x)); });
    }
}

template <class T>
void all_rows_backward(const RowNormBackward& a, int64_t begin, int64_t end) {
    if (a.grad_weight) __builtin_memset(a.grad_weight, 0, size_t(a.n) * sizeof(T));
    if (a.grad_bias) __builtin_memset(a.grad_bias, 0, size_t(a.n) * sizeof(T));
    int64_t r = begin;
    for (; r + kPair <= end; r += kPair)
        rows_backward<T, kPair>(a, r, r + 2 * kPair <= end ? kPair * a.n : 0);
    for (; r < end; ++r) rows_backward<T, 1>(a, r, 0);
}

void layer_norm_forward_any(DType dtype, const RowNorm& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, all_rows_forward<T>(a, begin, end));
}
void layer_norm_backward_any(DType dtype, const RowNormBackward& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, all_rows_backward<T>(a, begin, end));
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
