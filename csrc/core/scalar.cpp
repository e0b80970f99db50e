#include "core/scalar.h"

#include <limits>
#include <type_traits>

namespace flb {

bool Scalar::fits(DType t) const {
    if (info(t).kind >= DTypeKind::Float || !is_integral()) return true;
    return visit(t, [&](auto tag) -> bool {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            if (kind_ == Kind::UInt64) return std::is_same_v<T, uint64_t>;
            if constexpr (std::is_same_v<T, uint64_t>) return true;  // negative values wrap, as in PyTorch
            else return int_ >= int64_t(std::numeric_limits<T>::min()) && int_ <= int64_t(std::numeric_limits<T>::max());
        }
        return true;
    });
}

Scalar Scalar::load(DType t, const void* in) {
    return visit(t, [&](auto tag) -> Scalar {
        using T = typename decltype(tag)::type;
        const T& v = *static_cast<const T*>(in);
        if constexpr (std::is_same_v<T, bool>) return Scalar(v);
        else if constexpr (std::is_same_v<T, uint64_t>) return Scalar(v);
        else if constexpr (std::is_integral_v<T>) return Scalar(int64_t(v));
        else if constexpr (std::is_same_v<T, Complex<Half>>) return Scalar(Complex<double>(double(float(v.re)), double(float(v.im))));
        else if constexpr (std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>) return Scalar(Complex<double>(v.re, v.im));
        else if constexpr (std::is_floating_point_v<T>) return Scalar(double(v));
        else return Scalar(double(float(v)));
    });
}

}  // namespace flb
