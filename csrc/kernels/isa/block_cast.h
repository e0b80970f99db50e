// Conversion of contiguous blocks between any two element types: cast_block(out, in, n).
//
// C++'s static_cast where that is defined. A float outside an integer type's range gives what x86 gives PyTorch:
// int32 and narrower take the low bits of a 32-bit conversion, the others those of a 64-bit one, and both conversions
// give the smallest integer for what they cannot represent (NaN too). float16 is reached through float32, as PyTorch does.
#pragma once
#include <cstdint>
#include <cstring>
#include "kernels/isa/intrinsics.h"

#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

template <class T>
constexpr bool kIsComplex = false;
template <class T>
constexpr bool kIsComplex<Complex<T>> = true;
template <class T>
constexpr bool kIsFloating =
    __is_same(T, float) || __is_same(T, double) || __is_same(T, Half) || __is_same(T, BFloat16);

template <class T>
struct PartOf {
    using type = T;
};
template <class T>
struct PartOf<Complex<T>> {
    using type = T;
};

// The conversion that never faults: out-of-range elements are replaced before and marked after.
template <class Int, Real T>
FLB_INLINE Int truncate_to(T x) {
    constexpr Int kLowest = sizeof(Int) == 4 ? Int(INT32_MIN) : Int(INT64_MIN);
    constexpr T kLimit = -T(kLowest);
    const bool fits = (x >= -kLimit) & (x < kLimit);
    const Int i = Int(fits ? x : T(0));
    return fits ? i : kLowest;
}

template <class To, class From>
FLB_INLINE To cast_value(From x) {
    if constexpr (__is_same(To, From)) {
        return x;
    } else if constexpr (kIsComplex<From>) {
        using Part = typename PartOf<To>::type;
        if constexpr (__is_same(To, bool)) return (cast_value<bool>(x.re) | cast_value<bool>(x.im)) != 0;
        else if constexpr (kIsComplex<To>) return To(cast_value<Part>(x.re), cast_value<Part>(x.im));
        else return cast_value<To>(x.re);
    } else if constexpr (kIsComplex<To>) {
        using Part = typename PartOf<To>::type;
        return To(cast_value<Part>(x), cast_value<Part>(uint8_t(0)));
    } else if constexpr (__is_same(From, Half) || __is_same(From, BFloat16)) {
        return cast_value<To>(float(x));
    } else if constexpr (__is_same(To, Half) || __is_same(To, BFloat16)) {
        return To(float(x));
    } else if constexpr (__is_same(To, bool)) {
        return x != From(0);
    } else if constexpr (Real<From> && !Real<To>) {
        if constexpr (__is_same(To, uint64_t)) {
            const bool high = x >= From(0x1p63);
            const int64_t low = truncate_to<int64_t>(high ? x - From(0x1p63) : x);
            return uint64_t(low) ^ (uint64_t(high) << 63);
        } else if constexpr (sizeof(To) == 8 || __is_same(To, uint32_t)) {
            return To(truncate_to<int64_t>(x));
        } else {
            return To(truncate_to<int32_t>(x));
        }
    } else {
        return To(x);
    }
}

inline void halves_to_floats(float* out, const uint16_t* in, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i,
                         _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
#endif
    for (; i < n; ++i) out[i] = half_to_float(in[i]);
}
inline void floats_to_halves(uint16_t* out, const float* in, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(in + i), 0));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), 0));
#endif
    for (; i < n; ++i) out[i] = float_to_half(in[i]);
}

// out and in must not overlap, unless they are equal and To and From have one size.
template <class To, class From>
void cast_block(To* out, const From* in, int64_t n) {
    using ToPart = typename PartOf<To>::type;
    using FromPart = typename PartOf<From>::type;
    constexpr int64_t kChunk = 256;
    if constexpr (__is_same(To, From)) {
        if (n > 0) std::memmove(static_cast<void*>(out), in, size_t(n) * sizeof(To));
    } else if constexpr (kIsComplex<To> && kIsComplex<From>) {
        cast_block(reinterpret_cast<ToPart*>(out), reinterpret_cast<const FromPart*>(in), 2 * n);
    } else if constexpr (__is_same(From, Half) && __is_same(To, float)) {
        halves_to_floats(out, reinterpret_cast<const uint16_t*>(in), n);
    } else if constexpr (__is_same(From, float) && __is_same(To, Half)) {
        floats_to_halves(reinterpret_cast<uint16_t*>(out), in, n);
    } else if constexpr (__is_same(FromPart, Half) || __is_same(ToPart, Half)) {
        // Through float, on the side that has halves.
        constexpr bool kFrom = __is_same(FromPart, Half);
        constexpr bool kComplex = kFrom ? kIsComplex<From> : kIsComplex<To>;
        float buffer[2 * kChunk];
        for (int64_t i = 0; i < n; i += kChunk) {
            const int64_t count = n - i < kChunk ? n - i : kChunk;
            if constexpr (kComplex) {
                auto* middle = reinterpret_cast<Complex<float>*>(buffer);
                cast_block(middle, in + i, count);
                cast_block(out + i, middle, count);
            } else {
                cast_block(buffer, in + i, count);
                cast_block(out + i, buffer, count);
            }
        }
    } else if constexpr (__is_same(From, bool)) {
        // As bytes: any value but 0 is true, whatever wrote it.
        const auto* bytes = reinterpret_cast<const uint8_t*>(in);
        FLB_IVDEP
        for (int64_t i = 0; i < n; ++i) out[i] = cast_value<To>(uint8_t(bytes[i] != 0));
    } else {
        FLB_IVDEP
        for (int64_t i = 0; i < n; ++i) out[i] = cast_value<To>(in[i]);
    }
}

}  // namespace FLB_ISA
}  // namespace flb
