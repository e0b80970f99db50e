#include "kernels/strided.h"

#include "core/dtype.h"
#include "kernels/isa/vector.h"
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

// A stride known to the compiler becomes shuffles of whole vectors. No vector reads beyond the last element: the last one
// looks back from there.
template <int Step, class T>
FLB_INLINE void gather_step(T* out, const T* in, int64_t n) {
    int64_t i = 0;
    if constexpr (Step != 3 && (sizeof(T) == 4 || sizeof(T) == 8)) {
        constexpr int64_t L = kLanes<T>;
        constexpr std::make_integer_sequence<int, int(L)> lanes;
        for (; i + L < n; i += L) store(out + i, pick<Step, 0>(in + i * Step, lanes));
        if (n > L) return store(out + n - L, pick<Step, Step - 1>(in + (n - L - 1) * Step + 1, lanes));
    } else {
        for (; i < n - 1; ++i) out[i] = in[i * Step];
    }
    for (; i < n; ++i) out[i] = in[i * Step];
}

template <class T>
void gather(T* out, const char* in, int64_t stride, int64_t n) {
    const T* typed = reinterpret_cast<const T*>(in);
    if (n <= 0) return;
    if (stride == 0) {
        const T value = *typed;
        for (int64_t i = 0; i < n; ++i) out[i] = value;
        return;
    }
    if (stride == 2 * int64_t(sizeof(T))) return gather_step<2>(out, typed, n);
    if (stride == 3 * int64_t(sizeof(T))) return gather_step<3>(out, typed, n);
    if (stride == 4 * int64_t(sizeof(T))) return gather_step<4>(out, typed, n);
#pragma GCC unroll 8
    for (int64_t i = 0; i < n; ++i) out[i] = *reinterpret_cast<const T*>(in + i * stride);
}
template <class T>
void scatter(char* out, int64_t stride, const T* in, int64_t n) {
    for (int64_t i = 0; i < n; ++i) *reinterpret_cast<T*>(out + i * stride) = in[i];
}

template <class F>
static void by_width(int width, F&& f) {
    switch (width) {
        case 1: return f(Type<uint8_t>{});
        case 2: return f(Type<uint16_t>{});
        case 4: return f(Type<uint32_t>{});
        case 8: return f(Type<uint64_t>{});
        default: return f(Type<Bytes16>{});
    }
}

static void gather_impl(int width, void* out, const void* in, int64_t stride, int64_t n) {
    by_width(width, [&](auto tag) {
        using T = typename decltype(tag)::type;
        gather(static_cast<T*>(out), static_cast<const char*>(in), stride, n);
    });
}
static void scatter_impl(int width, void* out, int64_t stride, const void* in, int64_t n) {
    by_width(width, [&](auto tag) {
        using T = typename decltype(tag)::type;
        scatter(static_cast<char*>(out), stride, static_cast<const T*>(in), n);
    });
}

FLB_REGISTER_KERNEL(gather_elements, gather_impl);
FLB_REGISTER_KERNEL(scatter_elements, scatter_impl);

}  // namespace FLB_ISA
}  // namespace flb
