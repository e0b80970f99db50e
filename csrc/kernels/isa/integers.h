// Integer arithmetic that is defined for every argument.
#pragma once
#include <cstdint>

#include "core/scalar_types.h"

namespace flb {
namespace FLB_ISA {

// Signed overflow wraps, as in PyTorch; computing on unsigned integers keeps that defined.
template <class T>
struct Wrapping {
    using type = T;
};
template <> struct Wrapping<int8_t> {
    using type = uint8_t;
};
template <> struct Wrapping<int16_t> {
    using type = uint16_t;
};
template <> struct Wrapping<int32_t> {
    using type = uint32_t;
};
template <> struct Wrapping<int64_t> {
    using type = uint64_t;
};
template <class T>
using wrapping = typename Wrapping<T>::type;

template <class T>
constexpr bool kIsSigned = T(-1) < T(0);

// b != 0. The quotient -2^(n-1) / -1 does not fit: it wraps to itself.
template <class T>
FLB_INLINE T truncated_quotient(T a, T b) {
    if constexpr (kIsSigned<T>)
        if (b == T(-1)) return T(-wrapping<T>(a));
    return a / b;
}
template <class T>
FLB_INLINE T truncated_rest(T a, T b) {
    if constexpr (kIsSigned<T>)
        if (b == T(-1)) return T(0);
    return a % b;
}

}  // namespace FLB_ISA
}  // namespace flb
