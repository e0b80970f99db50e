// The larger and the smaller of two elements, and limits.
#include "kernels/isa/loops.h"
#include "kernels/isa/stream_loops.h"

namespace flb {
namespace FLB_ISA {

// NaN wins in maximum and minimum, loses in fmax and fmin.
struct Maximum {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return (a > b) | (a != a) ? a : b;
    }
};
struct Minimum {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return (a < b) | (a != a) ? a : b;
    }
};
struct Fmax {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return (a > b) | (b != b) ? a : b;
    }
};
struct Fmin {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return (a < b) | (b != b) ? a : b;
    }
};
struct Clamp {
    template <class T>
    static FLB_INLINE T f(T x, T low, T high) {
        const T y = x < low ? low : x;
        const T z = y > high ? high : y;
        const T w = low != low ? low : z;
        return high != high ? high : w;
    }
};
struct Heaviside {
    template <class T>
    static FLB_INLINE T f(T x, T at_zero) {
        return x == T(0) ? at_zero : T(x > T(0));
    }
};
FLB_LOOPS(FLB_BYTES(light_binary, Maximum, "maximum"), FLB_FLOATS(light_binary, Maximum, "maximum"),
          light_binary<Maximum, bool>("maximum"));
FLB_LOOPS(FLB_BYTES(light_binary, Minimum, "minimum"), FLB_FLOATS(light_binary, Minimum, "minimum"),
          light_binary<Minimum, bool>("minimum"));
FLB_LOOPS(FLB_INTS(binary, Fmax, "fmax"), FLB_FLOATS(binary, Fmax, "fmax"), binary<Fmax, bool>("fmax"));
FLB_LOOPS(FLB_INTS(binary, Fmin, "fmin"), FLB_FLOATS(binary, Fmin, "fmin"), binary<Fmin, bool>("fmin"));
FLB_LOOPS(FLB_INTS(binary, Heaviside, "heaviside"), FLB_FLOATS(binary, Heaviside, "heaviside"),
          binary<Heaviside, bool>("heaviside"));
FLB_STREAMS(FLB_FLOATS(stream_binary, Maximum, "maximum"), FLB_FLOATS(stream_binary, Minimum, "minimum"),
            FLB_FLOATS(stream_ternary, Clamp, "clamp"));
FLB_LOOPS(FLB_BYTES(light_ternary, Clamp, "clamp"), FLB_FLOATS(light_ternary, Clamp, "clamp"));

}  // namespace FLB_ISA
}  // namespace flb
