// Losses that are a function of the difference of two tensors.
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/loss_kernels.h"

namespace flb {
namespace FLB_ISA {

// On scalars and vectors alike, as sum_block wants them; NaN stays NaN.
template <class V>
FLB_INLINE V magnitude(V d) {
    return d < 0 ? -d : d;
}
template <class T>
struct Loss {
    T width, half_width, half_inverse;
    explicit Loss(const DifferenceLossShape& s)
        : width(T(s.width)), half_width(T(0.5 * s.width)), half_inverse(T(0.5 / s.width)) {}
};
template <class T>
struct Squared : Loss<T> {
    using Loss<T>::Loss;
    template <class V>
    FLB_INLINE V value(V d) const {
        return d * d;
    }
    FLB_INLINE T slope(T d) const { return d + d; }
};
template <class T>
struct Absolute : Loss<T> {
    using Loss<T>::Loss;
    template <class V>
    FLB_INLINE V value(V d) const {
        return magnitude(d);
    }
    FLB_INLINE T slope(T d) const { return d > 0 ? T(1) : d < 0 ? T(-1) : T(0); }
};
template <class T>
struct SmoothAbsolute : Loss<T> {
    using Loss<T>::Loss;
    template <class V>
    FLB_INLINE V value(V d) const {
        const V a = magnitude(d);
        return a < this->width ? a * a * this->half_inverse : a - this->half_width;
    }
    FLB_INLINE T slope(T d) const {
        const T inside = d / this->width;
        return d <= -this->width ? T(-1) : d >= this->width ? T(1) : inside;
    }
};
template <class T>
struct Huber : Loss<T> {
    using Loss<T>::Loss;
    template <class V>
    FLB_INLINE V value(V d) const {
        const V a = magnitude(d);
        return a < this->width ? a * a * T(0.5) : (a - this->half_width) * this->width;
    }
    FLB_INLINE T slope(T d) const { return clamp(d, -this->width, this->width); }
};

template <class L, class T>
double loss_of(const L& loss, const T* __restrict input, const T* __restrict target, T* __restrict out,
               int64_t n) {
    if (!out) return sum_mapped<T>(n, [&](auto x, auto y) { return loss.value(x - y); }, input, target);
    for (int64_t i = 0; i < n; ++i) out[i] = loss.value(input[i] - target[i]);
    return 0;
}
template <class L, class T>
void slopes_of(const L& loss, const T* __restrict grad, T scale, const T* __restrict input,
               const T* __restrict target, T* __restrict out, int64_t n) {
    if (grad)
        for (int64_t i = 0; i < n; ++i) out[i] = loss.slope(input[i] - target[i]) * grad[i];
    else
        for (int64_t i = 0; i < n; ++i) out[i] = loss.slope(input[i] - target[i]) * scale;
}

template <class T, class F>
FLB_INLINE auto with_loss(const DifferenceLossShape& s, F f) {
    switch (s.kind) {
        case DifferenceLoss::Squared: return f(Squared<T>(s));
        case DifferenceLoss::Absolute: return f(Absolute<T>(s));
        case DifferenceLoss::SmoothAbsolute: return f(SmoothAbsolute<T>(s));
        default: return f(Huber<T>(s));
    }
}
double loss_any(DType dtype, const DifferenceLossShape& s, const void* input, const void* target, void* out,
                int64_t n) {
    double sum = 0;
    FLB_FLOAT_OR_DOUBLE(dtype, sum = with_loss<T>(s, [&](const auto& loss) {
                                   return loss_of(loss, static_cast<const T*>(input),
                                                  static_cast<const T*>(target), static_cast<T*>(out), n);
                               }));
    return sum;
}
void loss_backward_any(DType dtype, const DifferenceLossShape& s, const void* grad, double scale,
                       const void* input, const void* target, void* out, int64_t n) {
    FLB_FLOAT_OR_DOUBLE(dtype, with_loss<T>(s, [&](const auto& loss) {
                            slopes_of(loss, static_cast<const T*>(grad), T(scale),
                                      static_cast<const T*>(input), static_cast<const T*>(target),
                                      static_cast<T*>(out), n);
                        }));
}

FLB_REGISTER_KERNEL(difference_loss, &loss_any);
FLB_REGISTER_KERNEL(difference_loss_backward, &loss_backward_any);

}  // namespace FLB_ISA
}  // namespace flb
