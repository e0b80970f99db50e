// Comparisons and tests of elements: results are bool.
#include "kernels/isa/loops.h"

namespace flb {
namespace FLB_ISA {

struct Eq {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a == b;
    }
};
struct Ne {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a != b;
    }
};
struct Lt {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a < b;
    }
};
struct Le {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a <= b;
    }
};
struct Gt {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a > b;
    }
};
struct Ge {
    template <class T>
    static FLB_INLINE bool f(T a, T b) {
        return a >= b;
    }
};

template <class T>
FLB_INLINE bool is_nan(T x) {
    return x != x;
}
template <class T>
FLB_INLINE bool is_nan(Complex<T> x) {
    return (x.re != x.re) | (x.im != x.im);
}
struct IsNan {
    template <class T>
    static FLB_INLINE bool f(T x) {
        return is_nan(x);
    }
};
struct IsInf {
    template <Real T>
    static FLB_INLINE bool f(T x) {
        return vabs(x) == Fp<T>::kInf;
    }
    template <class T>
    static FLB_INLINE bool f(Complex<T> x) {
        return f(x.re) | f(x.im);
    }
};
struct IsFinite {
    template <Real T>
    static FLB_INLINE bool f(T x) {
        return vabs(x) < Fp<T>::kInf;
    }
    template <class T>
    static FLB_INLINE bool f(Complex<T> x) {
        return f(x.re) & f(x.im);
    }
};
struct IsPosInf {
    template <Real T>
    static FLB_INLINE bool f(T x) {
        return x == Fp<T>::kInf;
    }
};
struct IsNegInf {
    template <Real T>
    static FLB_INLINE bool f(T x) {
        return x == -Fp<T>::kInf;
    }
};
struct SignBit {
    template <class T>
    static FLB_INLINE bool f(T x) {
        return x < T(0);
    }
    static FLB_INLINE bool f(float x) { return sign_bit(x); }
    static FLB_INLINE bool f(double x) { return sign_bit(x); }
};
struct IsReal {
    template <class T>
    static FLB_INLINE bool f(Complex<T> x) {
        return x.im == T(0);
    }
};
// Integers are finite, whatever they are.
struct Always {
    template <class T>
    static FLB_INLINE bool f(T) {
        return true;
    }
};
struct Never {
    template <class T>
    static FLB_INLINE bool f(T) {
        return false;
    }
};

FLB_LOOPS(FLB_BYTES(comparison, Eq, "eq"), FLB_FLOATS(comparison, Eq, "eq"),
          FLB_COMPLEXES(comparison, Eq, "eq"), comparison<Eq, bool>("eq"));
FLB_LOOPS(FLB_BYTES(comparison, Ne, "ne"), FLB_FLOATS(comparison, Ne, "ne"),
          FLB_COMPLEXES(comparison, Ne, "ne"), comparison<Ne, bool>("ne"));
FLB_LOOPS(FLB_BYTES(comparison, Lt, "lt"), FLB_FLOATS(comparison, Lt, "lt"), comparison<Lt, bool>("lt"));
FLB_LOOPS(FLB_BYTES(comparison, Le, "le"), FLB_FLOATS(comparison, Le, "le"), comparison<Le, bool>("le"));
FLB_LOOPS(FLB_BYTES(comparison, Gt, "gt"), FLB_FLOATS(comparison, Gt, "gt"), comparison<Gt, bool>("gt"));
FLB_LOOPS(FLB_BYTES(comparison, Ge, "ge"), FLB_FLOATS(comparison, Ge, "ge"), comparison<Ge, bool>("ge"));

#define FLB_TEST(F, Integers, name)                                                \
    FLB_LOOPS(FLB_FLOATS(predicate, F, name), FLB_INTS(predicate, Integers, name), \
              predicate<Integers, bool>(name))
FLB_TEST(IsNan, Never, "isnan");
FLB_TEST(IsInf, Never, "isinf");
FLB_TEST(IsFinite, Always, "isfinite");
FLB_TEST(IsPosInf, Never, "isposinf");
FLB_TEST(IsNegInf, Never, "isneginf");
FLB_TEST(SignBit, SignBit, "signbit");
FLB_TEST(Always, Always, "isreal");
#undef FLB_TEST
FLB_LOOPS(FLB_COMPLEXES(predicate, IsNan, "isnan"), FLB_COMPLEXES(predicate, IsInf, "isinf"),
          FLB_COMPLEXES(predicate, IsFinite, "isfinite"), FLB_COMPLEXES(predicate, IsReal, "isreal"));

}  // namespace FLB_ISA
}  // namespace flb
