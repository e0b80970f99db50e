// A Python number: bool, int, float or complex, as an operator's argument.
#pragma once
#include <cstdint>

#include "core/float8.h"

namespace flb {

class Scalar {
  public:
    enum class Kind : uint8_t { Bool, Int, UInt64, Float, Complex };

    Scalar() : Scalar(int64_t(0)) {}
    Scalar(bool v) : kind_(Kind::Bool), int_(v) {}
    Scalar(int v) : Scalar(int64_t(v)) {}
    Scalar(int64_t v) : kind_(Kind::Int), int_(v) {}
    Scalar(uint64_t v) : kind_(v >> 63 ? Kind::UInt64 : Kind::Int), int_(int64_t(v)) {}
    Scalar(double v) : kind_(Kind::Float), re_(v) {}
    Scalar(Complex<double> v) : kind_(Kind::Complex), re_(v.re), im_(v.im) {}

    Kind kind() const { return kind_; }
    bool is_bool() const { return kind_ == Kind::Bool; }
    bool is_integral() const { return kind_ <= Kind::UInt64; }
    bool is_complex() const { return kind_ == Kind::Complex; }
    // The dtype of a tensor made from it, before the default dtype is looked at.
    DTypeKind category() const {
        return kind_ == Kind::Bool     ? DTypeKind::Bool
               : kind_ <= Kind::UInt64 ? DTypeKind::Integer
               : kind_ == Kind::Float  ? DTypeKind::Float
                                       : DTypeKind::Complex;
    }

    double to_double() const {
        return kind_ == Kind::UInt64 ? double(uint64_t(int_)) : is_integral() ? double(int_) : re_;
    }
    int64_t to_int() const {
        if (is_integral()) return int_;
        // Beyond the range a cast would be undefined; x86's answer is the smallest value.
        return re_ >= -0x1p63 && re_ < 0x1p63 ? int64_t(re_) : INT64_MIN;
    }
    Complex<double> to_complex() const { return {to_double(), kind_ == Kind::Complex ? im_ : 0.0}; }
    bool to_bool() const { return is_integral() ? int_ != 0 : re_ != 0 || (is_complex() && im_ != 0); }

    // Writes the value as one element of dtype `t`.
    void store(DType t, void* out) const {
        if (is_float8(t)) {
            *static_cast<uint8_t*>(out) = encode_float8(t, float(to_double()));
            return;
        }
        visit(t, [&](auto tag) {
            using T = typename decltype(tag)::type;
            if constexpr (std::is_same_v<T, bool>) {
                *static_cast<bool*>(out) = to_bool();
            } else if constexpr (std::is_same_v<T, Complex<Half>>) {
                *static_cast<T*>(out) = T(Half(float(to_double())), Half(float(to_complex().im)));
            } else if constexpr (std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>) {
                *static_cast<T*>(out) = T(to_complex());
            } else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
                *static_cast<T*>(out) = T(float(to_double()));
            } else if constexpr (std::is_floating_point_v<T>) {
                *static_cast<T*>(out) = T(to_double());
            } else {
                *static_cast<T*>(out) = T(to_int());
            }
        });
    }
    // False when the value lies beyond the range of the dtype (infinities and NaN fit floating ones).
    bool fits(DType t) const;
    static Scalar load(DType t, const void* in);

  private:
    Kind kind_;
    union {
        int64_t int_;
        double re_;
    };
    double im_ = 0;
};

}  // namespace flb
