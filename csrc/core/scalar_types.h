// The element types that C++ lacks: float16, bfloat16 and complex numbers of any part.
// Included by per-instruction-set files, so everything is force-inlined: see docs on one-definition hazards.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#define FLB_INLINE inline __attribute__((always_inline))

namespace flb {

FLB_INLINE uint32_t bits_of(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}
FLB_INLINE float float_of(uint32_t u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}

// Branch-free conversions, so that loops over them vectorise on every target.
FLB_INLINE float half_to_float(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000u) << 16;
    const uint32_t em = h & 0x7fffu;
    // Multiplying by 2^112 renormalises subnormals and normals alike; infinities and NaN get the full exponent.
    const float scaled = float_of(em << 13) * 0x1p112f;
    const uint32_t special = (em >= 0x7c00u) ? 0x7f800000u : 0u;
    return float_of(bits_of(scaled) | special | sign);
}
FLB_INLINE uint16_t float_to_half(float x) {
    const uint32_t u = bits_of(x);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t a = u & 0x7fffffffu;
    // Subnormal results: adding 0.5 aligns the mantissa so that the addition rounds to nearest even.
    const uint32_t sub = bits_of(float_of(a) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    uint32_t r = (a < 0x38800000u) ? sub : normal;
    r = (a >= 0x477ff000u) ? 0x7c00u : r;  // rounds to infinity
    r = (a > 0x7f800000u) ? 0x7e00u : r;   // NaN
    return uint16_t(r | sign);
}

struct Half {
    uint16_t bits;
    Half() = default;
    FLB_INLINE explicit Half(float x) : bits(encode(x)) {}
    FLB_INLINE operator float() const { return decode(bits); }

#if defined(__F16C__)
    static FLB_INLINE uint16_t encode(float x) {
        return uint16_t(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x), 0), 0));
    }
    static FLB_INLINE float decode(uint16_t h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }
#else
    static FLB_INLINE uint16_t encode(float x) { return float_to_half(x); }
    static FLB_INLINE float decode(uint16_t h) { return half_to_float(h); }
#endif
};

struct BFloat16 {
    uint16_t bits;
    BFloat16() = default;
    FLB_INLINE explicit BFloat16(float x) {
        const uint32_t u = bits_of(x);
        const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        bits = uint16_t((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
    }
    FLB_INLINE operator float() const { return float_of(uint32_t(bits) << 16); }
};

// A plain pair: std::complex's operators carry C99 Annex G branches that keep loops scalar.
template <class T>
struct Complex {
    T re, im;
    Complex() = default;
    FLB_INLINE constexpr Complex(T re, T im = T(0)) : re(re), im(im) {}
    template <class U>
    FLB_INLINE explicit Complex(const Complex<U>& z) : re(T(z.re)), im(T(z.im)) {}
};
// complex32 only stores: it computes in complex64.
template <>
struct Complex<Half> {
    Half re, im;
    Complex() = default;
    FLB_INLINE Complex(Half re, Half im) : re(re), im(im) {}
    FLB_INLINE explicit Complex(const Complex<float>& z) : re(Half(z.re)), im(Half(z.im)) {}
};

template <class T>
FLB_INLINE Complex<T> operator+(Complex<T> a, Complex<T> b) {
    return {a.re + b.re, a.im + b.im};
}
template <class T>
FLB_INLINE Complex<T> operator-(Complex<T> a, Complex<T> b) {
    return {a.re - b.re, a.im - b.im};
}
template <class T>
FLB_INLINE Complex<T> operator-(Complex<T> a) {
    return {-a.re, -a.im};
}
template <class T>
FLB_INLINE Complex<T> operator*(Complex<T> a, Complex<T> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
FLB_INLINE bool operator==(Complex<T> a, Complex<T> b) {
    return a.re == b.re && a.im == b.im;
}
template <class T>
FLB_INLINE bool operator!=(Complex<T> a, Complex<T> b) {
    return !(a == b);
}
template <class T>
FLB_INLINE Complex<T> conj(Complex<T> a) {
    return {a.re, -a.im};
}
// Smith's method: dividing by the larger part keeps the intermediate values in range.
template <class T>
FLB_INLINE Complex<T> operator/(Complex<T> a, Complex<T> b) {
    const T abs_re = b.re < 0 ? -b.re : b.re, abs_im = b.im < 0 ? -b.im : b.im;
    if (abs_re >= abs_im) {
        if (abs_re == 0 && abs_im == 0) return {a.re / abs_re, a.im / abs_im};
        const T ratio = b.im / b.re, scale = T(1) / (b.re + b.im * ratio);
        return {(a.re + a.im * ratio) * scale, (a.im - a.re * ratio) * scale};
    }
    const T ratio = b.re / b.im, scale = T(1) / (b.re * ratio + b.im);
    return {(a.re * ratio + a.im) * scale, (a.im * ratio - a.re) * scale};
}

}  // namespace flb
