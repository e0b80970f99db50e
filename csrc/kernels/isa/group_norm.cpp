// Group normalisation, one row (a sample's group of channels) at a time, which stays in cache between the passes.
#include "kernels/group_norm.h"

#include "kernels/isa/nn_sum_pair.h"
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

template <class T>
void rows_forward(const GroupNorm& a, int64_t begin, int64_t end) {
    const T *weight = static_cast<const T*>(a.weight), *bias = static_cast<const T*>(a.bias);
    // Locals: a store through a pointer might change what a struct says, for all that the compiler knows.
    const int64_t length = a.length, width = a.channels / a.groups, n = width * length;
    for (int64_t r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.input) + r * n;
        T* y = static_cast<T*>(a.output) + r * n;
        const T mean = T(sum_mapped<T>(n, [](auto v) { return v; }, x) / double(n));
        const double square = sum_mapped<T>(n, [mean](auto v) { return (v - mean) * (v - mean); }, x);
        const T rstd = T(1.0 / vsqrt(square / double(n) + a.eps));
        static_cast<T*>(a.mean)[r] = mean;
        static_cast<T*>(a.rstd)[r] = rstd;
        const int64_t first = r % a.groups * width;
        for (int64_t c = 0; c < width; ++c) {
            const T scale = weight ? rstd * weight[first + c] : rstd, shift = bias ? bias[first + c] : T(0);
            const T* __restrict in = x + c * length;
            T* __restrict out = y + c * length;
            for (int64_t i = 0; i < length; ++i) out[i] = (in[i] - mean) * scale + shift;
        }
    }
}

template <class T>
void rows_backward(const GroupNormBackward& a, int64_t begin, int64_t end) {
    const T* weight = static_cast<const T*>(a.weight);
    const int64_t length = a.length, width = a.channels / a.groups, n = width * length;
    for (int64_t r = begin; r < end; ++r) {
        const T *x = static_cast<const T*>(a.input) + r * n, *g = static_cast<const T*>(a.grad) + r * n;
        const T mean = static_cast<const T*>(a.mean)[r], rstd = static_cast<const T*>(a.rstd)[r];
        const int64_t first = r % a.groups * width;
        double *sums = a.sums + r * width, *products = a.products + r * width;
        double sum = 0, product = 0;
        for (int64_t c = 0; c < width; ++c) {
            const T *gc = g + c * length, *xc = x + c * length;
            const Sums both = sum_pair<T>(
                length, [](auto v, auto) { return v; }, [mean](auto v, auto u) { return v * (u - mean); }, gc,
                xc);
            sums[c] = both.first;
            products[c] = both.second * double(rstd);
            const double w = weight ? double(weight[first + c]) : 1.0;
            sum += w * sums[c];
            product += w * products[c];
        }
        if (!a.grad_input) continue;
        // With the normalised input z: rstd (w g - mean(w g) - z mean(w g z)).
        const T offset = T(sum / double(n)) * rstd, slope = T(product / double(n)) * rstd * rstd;
        T* dx = static_cast<T*>(a.grad_input) + r * n;
        for (int64_t c = 0; c < width; ++c) {
            const T scale = weight ? rstd * weight[first + c] : rstd;
            const T* __restrict gc = g + c * length, * __restrict xc = x + c * length;
            T* __restrict out = dx + c * length;
            for (int64_t i = 0; i < length; ++i) out[i] = gc[i] * scale - offset - (xc[i] - mean) * slope;
        }
    }
}

void group_norm_forward_any(DType dtype, const GroupNorm& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, rows_forward<T>(a, begin, end));
}
void group_norm_backward_any(DType dtype, const GroupNormBackward& a, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, rows_backward<T>(a, begin, end));
}
FLB_REGISTER_KERNEL(group_norm_forward, &group_norm_forward_any);
FLB_REGISTER_KERNEL(group_norm_backward, &group_norm_backward_any);

}  // namespace FLB_ISA
}  // namespace flb
