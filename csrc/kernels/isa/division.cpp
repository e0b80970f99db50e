// Quotients rounded to integers, remainders, divisors. Integer division by zero sets the failure flag.
#include "kernels/isa/integers.h"
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath_basic.h"

namespace flb {
namespace FLB_ISA {

template <class T>
struct IntegerDivision {
    int32_t* failed;
    explicit FLB_INLINE IntegerDivision(const void* params) : failed(failure_flag(params)) {}
    // Every thread stores the same value.
    FLB_INLINE bool impossible(T b) const {
        if (b != T(0)) return false;
        __atomic_store_n(failed, 1, __ATOMIC_RELAXED);
        return true;
    }
};
template <class T>
struct TruncInt : IntegerDivision<T> {
    using IntegerDivision<T>::IntegerDivision;
    FLB_INLINE T operator()(T a, T b) const { return this->impossible(b) ? T(0) : truncated_quotient(a, b); }
};
template <class T>
struct FmodInt : IntegerDivision<T> {
    using IntegerDivision<T>::IntegerDivision;
    FLB_INLINE T operator()(T a, T b) const { return this->impossible(b) ? T(0) : truncated_rest(a, b); }
};
template <class T>
struct FloorInt : IntegerDivision<T> {
    using IntegerDivision<T>::IntegerDivision;
    FLB_INLINE T operator()(T a, T b) const {
        if (this->impossible(b)) return T(0);
        const T r = truncated_rest(a, b);
        return T(truncated_quotient(a, b) - T((r != T(0)) & ((r < T(0)) != (b < T(0)))));
    }
};
template <class T>
struct RemainderInt : IntegerDivision<T> {
    using IntegerDivision<T>::IntegerDivision;
    FLB_INLINE T operator()(T a, T b) const {
        if (this->impossible(b)) return T(0);
        const T r = truncated_rest(a, b);
        return (r != T(0)) & ((r < T(0)) != (b < T(0))) ? T(r + b) : r;
    }
};

struct TruncDivide {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vtrunc(a / b);
    }
};

#define FLB_MAP(Name, function)                                                 \
    struct Name {                                                               \
        template <class T>                                                      \
        static FLB_INLINE void map(T* out, const T* a, const T* b, int64_t n) { \
            function(out, a, b, n);                                             \
        }                                                                       \
    }
FLB_MAP(FloorDivide, map_floor_divide);
FLB_MAP(Fmod, map_fmod);
FLB_MAP(Remainder, map_remainder);
#undef FLB_MAP

// Euclid on magnitudes; the result is not negative, up to the wrapping of the smallest integer.
struct Gcd {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        wrapping<T> x = a < T(0) ? -wrapping<T>(a) : wrapping<T>(a),
                    y = b < T(0) ? -wrapping<T>(b) : wrapping<T>(b);
        while (y) {
            const wrapping<T> rest = x % y;
            x = y;
            y = rest;
        }
        return T(x);
    }
};
struct Lcm {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        const T g = Gcd::f(a, b);
        if (g == T(0)) return T(0);
        const T product = T(wrapping<T>(truncated_quotient(a, g)) * wrapping<T>(b));
        return product < T(0) ? T(-wrapping<T>(product)) : product;
    }
};

FLB_LOOPS(FLB_INTS(binary_p, TruncInt, "div_trunc"), FLB_FLOATS(binary, TruncDivide, "div_trunc"));
FLB_LOOPS(FLB_INTS(binary_p, FloorInt, "floor_divide"), FLB_FLOATS(binary_map, FloorDivide, "floor_divide"));
FLB_LOOPS(FLB_INTS(binary_p, FmodInt, "fmod"), FLB_FLOATS(binary_map, Fmod, "fmod"));
FLB_LOOPS(FLB_INTS(binary_p, RemainderInt, "remainder"), FLB_FLOATS(binary_map, Remainder, "remainder"));
FLB_LOOPS(FLB_INTS(binary, Gcd, "gcd"));
FLB_LOOPS(FLB_INTS(binary, Lcm, "lcm"));

}  // namespace FLB_ISA
}  // namespace flb
