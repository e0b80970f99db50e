// Sixteen floats at a time by hand, where AVX-512 has instructions that no plain loop becomes: exponents taken apart and
// put together (getexp, getmant, scalef), tables of 16 or 32 entries in registers (vpermps), reciprocals to 14 bits.
// The formulas of vmath_*.h take 22 to 43 operations for each of these functions, these 14 to 21.
#pragma once
#if defined(__AVX512F__)
#include "kernels/isa/intrinsics.h"

#include "kernels/isa/vmath_core.h"
#include "kernels/isa/vmath_tables.h"

namespace flb {
namespace FLB_ISA {

FLB_INLINE __m512 all16(float x) { return _mm512_set1_ps(x); }
// Both keep a NaN in x.
FLB_INLINE __m512 at_most16(__m512 x, float bound) { return _mm512_min_ps(all16(bound), x); }
FLB_INLINE __m512 at_least16(__m512 x, float bound) { return _mm512_max_ps(all16(bound), x); }

// c[first] + c[first + 1] x + ... as poly() does, the coefficients rounded to float.
template <int I = 0, int N>
FLB_INLINE __m512 poly16(__m512 x, const double (&c)[N]) {
    if constexpr (I == N - 1) return all16(float(c[I]));
    else return _mm512_fmadd_ps(poly16<I + 1>(x, c), x, all16(float(c[I])));
}
template <int I = 0, int N>
FLB_INLINE __m512 poly16(__m512 x, const float (&c)[N]) {
    if constexpr (I == N - 1) return all16(c[I]);
    else return _mm512_fmadd_ps(poly16<I + 1>(x, c), x, all16(c[I]));
}

// The integer n next to x / ln(2); (e^r - 1) / r for |r| <= ln(2)/2.
FLB_INLINE __m512 exp_exponent16(__m512 x) {
    const __m512 magic = all16(Fp<float>::kMagic);
    return _mm512_sub_ps(_mm512_fmadd_ps(x, all16(0x1.715476p+0f), magic), magic);
}
FLB_INLINE __m512 expm1_over16(__m512 r) {
    return _mm512_fmadd_ps(poly16(r, coefficients::kExpF), r, all16(1));
}
FLB_INLINE __m512 exp16(__m512 x) {
    x = at_least16(at_most16(x, 90), -105);
    const __m512 n = exp_exponent16(x), high = _mm512_fnmadd_ps(n, all16(Fp<float>::kLn2Hi), x);
    const __m512 r = _mm512_fnmadd_ps(n, all16(Fp<float>::kLn2Lo), high);
    // Rounds once, subnormal results too.
    return _mm512_scalef_ps(_mm512_fmadd_ps(expm1_over16(r), r, all16(1)), n);
}

// 1/(1 + e^-x) = 2^n / (2^n + e^r) with r = n ln(2) - x: nothing overflows, and tiny results keep their bits.
FLB_INLINE __m512 sigmoid16(__m512 x) {
    x = at_least16(at_most16(x, 30), -105);
    const __m512 n = exp_exponent16(x), high = _mm512_fmsub_ps(n, all16(Fp<float>::kLn2Hi), x);
    const __m512 r = _mm512_fmadd_ps(n, all16(Fp<float>::kLn2Lo), high);
    const __m512 d =
        _mm512_add_ps(_mm512_fmadd_ps(expm1_over16(r), r, _mm512_scalef_ps(all16(1), n)), all16(1));
    const __m512 y = _mm512_rcp14_ps(d);
    return _mm512_scalef_ps(_mm512_fmadd_ps(y, _mm512_fnmadd_ps(d, y, all16(1)), y), n);
}

// x = 2^e m with m from 0.75 to 1.5, and m = (1 + f) / c for a c out of a table. Zero, infinities, negative numbers and
// NaN come out of the taking apart with the right results.
FLB_INLINE __m512 log16(__m512 x) {
    const __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    const __m512 e = _mm512_sub_ps(_mm512_getexp_ps(x), _mm512_getexp_ps(m));
    const __m512i index = _mm512_srli_epi32(_mm512_castps_si512(m), 19);  // of its bits, four count
    const __m512 c = _mm512_permutexvar_ps(index, _mm512_load_ps(tables::kLog[0]));
    const __m512 minus_log_c = _mm512_permutexvar_ps(index, _mm512_load_ps(tables::kLog[1]));
    const __m512 f = _mm512_fmsub_ps(m, c, all16(1));
    const __m512 high = _mm512_fmadd_ps(e, all16(Fp<float>::kLn2Hi), minus_log_c);  // exact
    const __m512 log1p = _mm512_fmadd_ps(_mm512_mul_ps(f, f), poly16(f, tables::kLogTail), f);
    return _mm512_add_ps(high, _mm512_fmadd_ps(e, all16(Fp<float>::kLn2Lo), log1p));
}

// An odd function that is 1 (or 1/2) from the 31st multiple of `width` on: a polynomial around the nearest multiple.
// slope_rest: what rounding took from the slope at 0, where there is nothing else.
template <int N>
FLB_INLINE __m512 piecewise16(__m512 x, float width, const float (&c)[N][32], float slope_rest = 0) {
    const __m512 a = at_most16(_mm512_abs_ps(x), 31 * width), magic = all16(Fp<float>::kMagic);
    const __m512 shifted = _mm512_fmadd_ps(a, all16(1 / width), magic);
    const __m512 t = _mm512_fnmadd_ps(_mm512_sub_ps(shifted, magic), all16(width), a);
    const __m512i index = _mm512_castps_si512(shifted);
    const auto coefficient = [&](int i) __attribute__((always_inline)) {
        return _mm512_permutex2var_ps(_mm512_load_ps(c[i]), index, _mm512_load_ps(c[i] + 16));
    };
    __m512 y = coefficient(N - 1);
    for (int i = N - 2; i > 0; --i) y = _mm512_fmadd_ps(y, t, coefficient(i));
    __m512 constant = coefficient(0);
    if (slope_rest) constant = _mm512_fmadd_ps(t, all16(slope_rest), constant);
    y = _mm512_fmadd_ps(y, t, constant);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(y), _mm512_castps_si512(x),
                                                         _mm512_set1_epi32(INT32_MIN), 0xd8));
}
FLB_INLINE __m512 tanh16(__m512 x) { return piecewise16(x, tables::kTanhWidth, tables::kTanh); }
FLB_INLINE __m512 erf16(__m512 x) {
    constexpr double kSlope = 0x1.20dd750429b6dp+0;  // 2 / sqrt(pi)
    return piecewise16(x, tables::kErfWidth, tables::kErf, float(kSlope - tables::kErf[1][0]));
}
FLB_INLINE __m512 gelu16(__m512 x) {
    return _mm512_mul_ps(x,
                         _mm512_add_ps(piecewise16(x, tables::kNormalWidth, tables::kNormal), all16(0.5f)));
}
FLB_INLINE __m512 silu16(__m512 x) { return _mm512_mul_ps(x, sigmoid16(x)); }
FLB_INLINE __m512 gelu_tanh16(__m512 x) {
    const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(all16(0.044715f), x), x);
    const __m512 t = tanh16(_mm512_mul_ps(all16(0x1.9884533d43651p-1f), _mm512_fmadd_ps(cube, x, x)));
    return _mm512_mul_ps(_mm512_mul_ps(all16(0.5f), x), _mm512_add_ps(t, all16(1)));
}

// The processor fetches from its second-level cache too late for loops of a few cycles a line: they ask 1 KB ahead.
template <auto f>
FLB_INLINE void map16(float* out, const float* a, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __builtin_prefetch(a + i + 256);
        _mm512_storeu_ps(out + i, f(_mm512_loadu_ps(a + i)));
    }
    if (i < n) {
        const __mmask16 rest = __mmask16((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, rest, f(_mm512_maskz_loadu_ps(rest, a + i)));
    }
}

}  // namespace FLB_ISA
}  // namespace flb
#endif
