// The optimizers' updates: every element read and written once. The order of operations is PyTorch's.
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace FLB_ISA {

template <class T, bool momentum, bool nesterov>
FLB_INLINE void sgd_loop(const SgdStep& s, T* __restrict p, const T* __restrict g, T* __restrict buffer,
                         int64_t begin, int64_t end) {
    const T lr = T(s.lr), mu = T(s.momentum), fresh = T(1 - s.dampening), decay = T(s.weight_decay),
            sign = s.maximize ? T(-1) : T(1);
    for (int64_t i = begin; i < end; ++i) {
        T d = fmadd(decay, p[i], sign * g[i]);
        if constexpr (momentum) {
            const T b = fmadd(fresh, d, buffer[i] * mu);
            buffer[i] = b;
            d = nesterov ? fmadd(mu, b, d) : b;
        }
        p[i] = fmadd(-lr, d, p[i]);
    }
}
template <class T>
void sgd(const SgdStep& s, T* p, const T* g, T* buffer, int64_t begin, int64_t end) {
    if (!buffer) sgd_loop<T, false, false>(s, p, g, buffer, begin, end);
    else if (s.nesterov) sgd_loop<T, true, true>(s, p, g, buffer, begin, end);
    else sgd_loop<T, true, false>(s, p, g, buffer, begin, end);
}
void sgd_any(DType dtype, const SgdStep& s, void* param, const void* grad, void* buffer, int64_t begin,
             int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, sgd(s, static_cast<T*>(param), static_cast<const T*>(grad),
                                   static_cast<T*>(buffer), begin, end));
}

template <class T, bool amsgrad>
void adam(const AdamStep& s, T* __restrict p, const T* __restrict g, T* __restrict m, T* __restrict v,
          T* __restrict top, int64_t begin, int64_t end) {
    const T sign = s.maximize ? T(-1) : T(1), keep = T(s.decoupled ? 1 - s.lr * s.weight_decay : 1.0);
    const T decay = T(s.decoupled ? 0.0 : s.weight_decay);
    const T share1 = T(1 - s.beta1), beta2 = T(s.beta2), share2 = T(1 - s.beta2), eps = T(s.eps);
    const T root = T(s.root_correction2), size = T(-(s.lr / s.correction1));
    for (int64_t i = begin; i < end; ++i) {
        const T x = p[i] * keep;
        const T d = fmadd(decay, x, sign * g[i]);
        const T mean = fmadd(share1, d - m[i], m[i]);
        const T square = fmadd(share2 * d, d, v[i] * beta2);
        m[i] = mean;
        v[i] = square;
        T largest = square;
        if constexpr (amsgrad) {
            largest = ((square > top[i]) | (square != square)) ? square : top[i];
            top[i] = largest;
        }
        p[i] = x + size * mean / (vsqrt(largest) / root + eps);
    }
}
void adam_any(DType dtype, const AdamStep& s, void* param, const void* grad, void* mean, void* square,
              void* largest, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, {
        T *p = static_cast<T*>(param), *m = static_cast<T*>(mean), *v = static_cast<T*>(square),
          *top = static_cast<T*>(largest);
        const T* g = static_cast<const T*>(grad);
        if (top) adam<T, true>(s, p, g, m, v, top, begin, end);
        else adam<T, false>(s, p, g, m, v, top, begin, end);
    });
}

FLB_REGISTER_KERNEL(sgd_update, &sgd_any);
FLB_REGISTER_KERNEL(adam_update, &adam_any);

}  // namespace FLB_ISA
}  // namespace flb
