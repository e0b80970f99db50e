// Four features at a time share every load of the input; lanes are added up at the end, in a fixed order.
#include "kernels/small_linear.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

template <class T, int kFeatures>
FLB_INLINE void dot_features(int64_t in, const T* x, const T* w, const T* bias, T* out) {
    Vector<T> sums[kFeatures] = {};
    int64_t i = 0;
    for (; i + kLanes<T> <= in; i += kLanes<T>) {
        const Vector<T> a = load(x + i);
        for (int f = 0; f < kFeatures; ++f) sums[f] = multiply_add<T>(a, load(w + f * in + i), sums[f]);
    }
    for (int f = 0; f < kFeatures; ++f) {
        T total = lane_sum<T>(sums[f]);
        for (int64_t j = i; j < in; ++j) total += x[j] * w[f * in + j];
        out[f] = bias ? total + bias[f] : total;
    }
}

template <class T>
void small_linear(int64_t rows, int64_t in, int64_t features, const T* x, const T* w, const T* bias, T* out) {
    for (int64_t r = 0; r < rows; ++r, x += in, out += features) {
        int64_t f = 0;
        for (; f + 4 <= features; f += 4)
            dot_features<T, 4>(in, x, w + f * in, bias ? bias + f : nullptr, out + f);
        for (; f < features; ++f) dot_features<T, 1>(in, x, w + f * in, bias ? bias + f : nullptr, out + f);
    }
}

FLB_REGISTER_KERNEL(small_linear_float, small_linear<float>);
FLB_REGISTER_KERNEL(small_linear_double, small_linear<double>);

}  // namespace FLB_ISA
}  // namespace flb
