// Layer and batch normalisation: sums per row or per channel, and the maps that use them.
#include "kernels/isa/nn_sum_pair.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace FLB_ISA {

// ---- rows ----------------------------------------------------------------------------------------------------------

template <class T>
void rows_forward(const RowNorm& a, int64_t begin, int64_t end) {
    const T *w = static_cast<const T*>(a.weight), *b = static_cast<const T*>(a.bias);
    const int64_t n = a.n;
    for (int64_t r = begin; r < end; ++r) {
        const T* __restrict x = static_cast<const T*>(a.input) + r * n;
        T* __restrict y = static_cast<T*>(a.output) + r * n;
        const T mean = a.centred ? T(sum_mapped<T>(n, [](auto v) { return v; }, x) / double(n)) : T(0);
        const double square = sum_mapped<T>(n, [mean](auto v) { return (v - mean) * (v - mean); }, x);
        const T rstd = T(1.0 / vsqrt(square / double(n) + a.eps));
        if (a.centred) static_cast<T*>(a.mean)[r] = mean;
        static_cast<T*>(a.rstd)[r] = rstd;
        if (w && b)
            for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
        else if (w)
            for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * w[i];
        else if (b)
            for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd + b[i];
        else
            for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd;
    }
}

template <class T>
void rows_backward(const RowNormBackward& a, int64_t begin, int64_t end) {
    const int64_t n = a.n;
    const T* __restrict w = static_cast<const T*>(a.weight);
    T* __restrict dw = static_cast<T*>(a.grad_weight);
    T* __restrict db = static_cast<T*>(a.grad_bias);
    if (dw) __builtin_memset(dw, 0, size_t(n) * sizeof(T));
    if (db) __builtin_memset(db, 0, size_t(n) * sizeof(T));
    for (int64_t r = begin; r < end; ++r) {
        const T* __restrict x = static_cast<const T*>(a.input) + r * n;
        const T* __restrict g = static_cast<const T*>(a.grad) + r * n;
        const T mean = a.centred ? static_cast<const T*>(a.mean)[r] : T(0),
                rstd = static_cast<const T*>(a.rstd)[r];
        if (dw && db) {
            for (int64_t i = 0; i < n; ++i) {
                dw[i] += g[i] * ((x[i] - mean) * rstd);
                db[i] += g[i];
            }
        } else if (dw) {
            for (int64_t i = 0; i < n; ++i) dw[i] += g[i] * ((x[i] - mean) * rstd);
        } else if (db) {
            for (int64_t i = 0; i < n; ++i) db[i] += g[i];
        }
        if (!a.grad_input) continue;
        T* __restrict dx = static_cast<T*>(a.grad_input) + r * n;
        Sums sums;
        if (w)
            sums = sum_pair<T>(
                n, [](auto gi, auto, auto wi) { return gi * wi; },
                [mean](auto gi, auto xi, auto wi) { return gi * wi * (xi - mean); }, g, x, w);
        else
            sums = sum_pair<T>(
                n, [](auto gi, auto) { return gi; }, [mean](auto gi, auto xi) { return gi * (xi - mean); }, g,
                x);
        const T offset = a.centred ? T(sums.first / double(n)) : T(0),
                slope = T(sums.second / double(n)) * rstd * rstd;
        if (w)
            for (int64_t i = 0; i < n; ++i) dx[i] = (g[i] * w[i] - offset - (x[i] - mean) * slope) * rstd;
        else
            for (int64_t i = 0; i < n; ++i) dx[i] = (g[i] - offset - (x[i] - mean) * slope) * rstd;
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
