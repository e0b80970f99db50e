// Bits of integers, and truth of elements.
#include "kernels/isa/integers.h"
#include "kernels/isa/loops.h"

namespace flb {
namespace FLB_ISA {

struct And {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(a & b);
    }
};
struct Or {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(a | b);
    }
};
struct Xor {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(a ^ b);
    }
};
struct Not {
    template <class T>
    static FLB_INLINE T f(T a) {
        return T(~a);
    }
    static FLB_INLINE bool f(bool a) { return !a; }
};
// Shifts by the width or more push every bit out; negative distances count as such.
struct LeftShift {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        constexpr T kWidth = T(sizeof(T) * 8);
        const bool out = (b < T(0)) | (b >= kWidth);
        return out ? T(0) : T(wrapping<T>(a) << (out ? T(0) : b));
    }
};
struct RightShift {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        constexpr T kLast = T(sizeof(T) * 8 - 1);
        const bool out = (b < T(0)) | (b > kLast);
        const T shifted = T(a >> (out ? kLast : b));
        return kIsSigned<T> || !out ? shifted : T(0);
    }
};
struct LogicalAnd {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return (a != T(0)) & (b != T(0));
    }
};
struct LogicalOr {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return (a != T(0)) | (b != T(0));
    }
};
struct LogicalXor {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return (a != T(0)) != (b != T(0));
    }
};
struct LogicalNot {
    template <class T>
    static FLB_INLINE bool f(T a) {
        return a == T(0);
    }
};

FLB_LOOPS(FLB_BYTES(light_binary, And, "bitwise_and"), light_binary<And, bool>("bitwise_and"));
FLB_LOOPS(FLB_BYTES(light_binary, Or, "bitwise_or"), light_binary<Or, bool>("bitwise_or"));
FLB_LOOPS(FLB_BYTES(light_binary, Xor, "bitwise_xor"), light_binary<Xor, bool>("bitwise_xor"));
FLB_LOOPS(FLB_BYTES(unary, Not, "bitwise_not"), unary<Not, bool>("bitwise_not"));
FLB_LOOPS(binary<LeftShift, int8_t>("bitwise_left_shift"), binary<LeftShift, int16_t>("bitwise_left_shift"),
          binary<LeftShift, uint16_t>("bitwise_left_shift"),
          binary<LeftShift, uint32_t>("bitwise_left_shift"),
          FLB_BYTES(binary, LeftShift, "bitwise_left_shift"));
FLB_LOOPS(binary<RightShift, int8_t>("bitwise_right_shift"),
          binary<RightShift, int16_t>("bitwise_right_shift"),
          binary<RightShift, uint16_t>("bitwise_right_shift"),
          binary<RightShift, uint32_t>("bitwise_right_shift"),
          FLB_BYTES(binary, RightShift, "bitwise_right_shift"));
FLB_LOOPS(FLB_BYTES(comparison, LogicalAnd, "logical_and"), FLB_FLOATS(comparison, LogicalAnd, "logical_and"),
          FLB_COMPLEXES(comparison, LogicalAnd, "logical_and"), comparison<LogicalAnd, bool>("logical_and"));
FLB_LOOPS(FLB_BYTES(comparison, LogicalOr, "logical_or"), FLB_FLOATS(comparison, LogicalOr, "logical_or"),
          FLB_COMPLEXES(comparison, LogicalOr, "logical_or"), comparison<LogicalOr, bool>("logical_or"));
FLB_LOOPS(FLB_BYTES(comparison, LogicalXor, "logical_xor"), FLB_FLOATS(comparison, LogicalXor, "logical_xor"),
          FLB_COMPLEXES(comparison, LogicalXor, "logical_xor"), comparison<LogicalXor, bool>("logical_xor"));
FLB_LOOPS(FLB_BYTES(predicate, LogicalNot, "logical_not"), FLB_FLOATS(predicate, LogicalNot, "logical_not"),
          FLB_COMPLEXES(predicate, LogicalNot, "logical_not"), predicate<LogicalNot, bool>("logical_not"));

}  // namespace FLB_ISA
}  // namespace flb
