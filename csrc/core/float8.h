// The eight-bit floats: a sign, E bits of exponent, M bits of fraction. "fn" has no infinities, "fnuz" neither them nor a
// negative zero (whose code is its one NaN); e8m0 is a power of two and nothing else.
#pragma once
#include "core/dtype.h"

namespace flb {

// Conversions by the formats' definitions: to nearest, ties to even. What lies beyond the largest number becomes that
// number in e4m3fn, infinity in e5m2, NaN in the other two. No branches, so that loops over them vectorise.
template <DType t>
FLB_INLINE uint8_t float8_of(float x) {
    const uint32_t u = bits_of(x), a = u & 0x7fffffffu;
    if constexpr (t == DType::Float8_e8m0fnu) {
        // The sign is dropped, ties go up; what float32 holds as a subnormal is on the grid only at 2^-127.
        const uint32_t exponent = a >> 23, fraction = a & 0x7fffffu;
        const uint32_t up = (fraction > 0x400000u) | ((fraction == 0x400000u) & (exponent > 0));
        return uint8_t(exponent == 255 ? 255 : exponent + up);
    } else {
        constexpr bool uz = t == DType::Float8_e4m3fnuz || t == DType::Float8_e5m2fnuz;
        constexpr int M = t == DType::Float8_e4m3fn || t == DType::Float8_e4m3fnuz ? 3 : 2;
        constexpr int bias = (M == 3 ? 7 : 15) + uz;
        // Subnormal results: adding the power of two whose last bit is theirs aligns and rounds.
        constexpr uint32_t magic = uint32_t(127 + 24 - bias - M) << 23;
        const uint32_t subnormal = bits_of(float_of(a) + float_of(magic)) - magic;
        const uint32_t normal =
            (a - (uint32_t(127 - bias) << 23) + ((1u << (22 - M)) - 1) + ((a >> (23 - M)) & 1u)) >> (23 - M);
        uint32_t r = a < (uint32_t(128 - bias) << 23) ? subnormal : normal;
        const bool nan = a > 0x7f800000u;
        const uint32_t sign = (u >> 24) & 0x80u;
        if constexpr (uz) {
            const uint32_t signed_r = r == 0 ? 0u : r | sign;
            return uint8_t(nan | (r > 0x7fu) ? 0x80u : signed_r);
        } else {
            constexpr uint32_t top = M == 3 ? 0x7eu : 0x7cu;
            r = r > top ? top : r;
            return uint8_t((nan ? 0x7fu : r) | sign);
        }
    }
}

struct Float8Table {
    float values[256];
};
const Float8Table& float8_table(DType t);  // by code
uint8_t encode_float8(DType t, float x);
inline float decode_float8(DType t, uint8_t code) { return float8_table(t).values[code]; }

struct Float8Limits {
    double lowest, highest;
    bool has_infinity;
};
Float8Limits float8_limits(DType t);

}  // namespace flb
