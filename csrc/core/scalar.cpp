#include "core/scalar.h"

#include <limits>
#include <type_traits>

namespace flb {

bool Scalar::fits(DType t) const {
    if (t == DType::Bool) return true;
    if (is_float8(t)) {
        const double x = to_double();
        const Float8Limits limits = float8_limits(t);
        if (to_complex().im != 0) return false;
        if (is_integral() && t == DType::Float8_e8m0fnu) return true;
        return x != x || (x >= limits.lowest && x <= limits.highest) || (limits.has_infinity && x - x != 0);
    }
    if (info(t).kind >= DTypeKind::Float) {
        const DType part = info(t).real;
        const double limit = part == DType::Float16    ? 65504
                             : part == DType::BFloat16 ? 0x1.fep127
                             : part == DType::Float32  ? double(std::numeric_limits<float>::max())
                                                       : std::numeric_limits<double>::max();
        const auto beyond = [=](double x) { return (x > limit || x < -limit) && x - x == 0; };
        return !beyond(to_double()) && !beyond(to_complex().im);
    }
    return visit(t, [&](auto tag) -> bool {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            constexpr bool is_unsigned = std::is_unsigned_v<T>;
            constexpr double limit = double(std::numeric_limits<T>::max());
            if (!is_integral()) {
                // Compared as doubles; the limits of 64 bits round up to a power of two, which itself does not fit.
                const bool below = sizeof(T) == 8 ? re_ < limit : re_ <= limit;
                return below && re_ >= (is_unsigned ? 0.0 : -limit - (sizeof(T) == 8 ? 0.0 : 1.0));
            }
            if (kind_ == Kind::UInt64) return std::is_same_v<T, uint64_t>;
            // Negative numbers wrap in unsigned dtypes, as in PyTorch: -1 is the largest value.
            if constexpr (std::is_same_v<T, uint64_t>) return true;
            else if constexpr (is_unsigned)
                return int_ < 0 ? -(int_ + 1) < int64_t(std::numeric_limits<T>::max())
                                : int_ <= int64_t(std::numeric_limits<T>::max());
            else
                return int_ >= int64_t(std::numeric_limits<T>::min()) &&
                       int_ <= int64_t(std::numeric_limits<T>::max());
        }
        return true;
    });
}

Scalar Scalar::load(DType t, const void* in) {
    if (is_float8(t)) return Scalar(double(decode_float8(t, *static_cast<const uint8_t*>(in))));
    return visit(t, [&](auto tag) -> Scalar {
        using T = typename decltype(tag)::type;
        const T& v = *static_cast<const T*>(in);
        if constexpr (std::is_same_v<T, bool>) return Scalar(v);
        else if constexpr (std::is_same_v<T, uint64_t>) return Scalar(v);
        else if constexpr (std::is_integral_v<T>) return Scalar(int64_t(v));
        else if constexpr (std::is_same_v<T, Complex<Half>>)
            return Scalar(Complex<double>(double(float(v.re)), double(float(v.im))));
        else if constexpr (std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>)
            return Scalar(Complex<double>(v.re, v.im));
        else if constexpr (std::is_floating_point_v<T>) return Scalar(double(v));
        else return Scalar(double(float(v)));
    });
}

}  // namespace flb
