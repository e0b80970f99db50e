#include "core/float8.h"

namespace flb {

namespace {

float value_of(DType t, uint32_t code) {
    if (t == DType::Float8_e8m0fnu)
        return float_of(code == 255 ? 0x7f800001u : code == 0 ? 0x00400000u : code << 23);
    const uint32_t magnitude = code & 0x7f, sign = (code & 0x80) << 24;
    const bool uz = t == DType::Float8_e4m3fnuz || t == DType::Float8_e5m2fnuz;
    // PyTorch's patterns of NaN, which show where a tensor of floats is looked at as integers.
    if (uz && code == 0x80) return float_of(0x7f800001u);
    if (t == DType::Float8_e4m3fn && magnitude == 0x7f) return float_of(sign | 0x7ff00000u);
    if (t == DType::Float8_e5m2 && magnitude >= 0x7c)
        return float_of(sign | 0x7f800000u | ((magnitude & 3) << 21) | (magnitude > 0x7c ? 0x400000u : 0u));
    const int M = t == DType::Float8_e4m3fn || t == DType::Float8_e4m3fnuz ? 3 : 2;
    const int bias = (M == 3 ? 7 : 15) + uz;
    const uint32_t exponent = magnitude >> M, fraction = magnitude & ((1u << M) - 1);
    const float scale = float_of(uint32_t(127 + (exponent ? int(exponent) : 1) - bias - M) << 23);
    const float value = float((exponent ? 1u << M : 0u) + fraction) * scale;
    return float_of(bits_of(value) | sign);
}

constexpr int kTypes = 5;
int index_of(DType t) { return int(t) - int(DType::Float8_e5m2); }

}  // namespace

const Float8Table& float8_table(DType t) {
    static const auto* tables = [] {
        auto* made = new Float8Table[kTypes];
        for (int i = 0; i < kTypes; ++i)
            for (uint32_t code = 0; code < 256; ++code)
                made[i].values[code] = value_of(DType(int(DType::Float8_e5m2) + i), code);
        return made;
    }();
    return tables[index_of(t)];
}

uint8_t encode_float8(DType t, float x) {
    switch (t) {
        case DType::Float8_e5m2: return float8_of<DType::Float8_e5m2>(x);
        case DType::Float8_e4m3fn: return float8_of<DType::Float8_e4m3fn>(x);
        case DType::Float8_e5m2fnuz: return float8_of<DType::Float8_e5m2fnuz>(x);
        case DType::Float8_e4m3fnuz: return float8_of<DType::Float8_e4m3fnuz>(x);
        default: return float8_of<DType::Float8_e8m0fnu>(x);
    }
}

Float8Limits float8_limits(DType t) {
    switch (t) {
        case DType::Float8_e5m2: return {-57344, 57344, true};
        case DType::Float8_e4m3fn: return {-448, 448, false};
        case DType::Float8_e5m2fnuz: return {-57344, 57344, false};
        case DType::Float8_e4m3fnuz: return {-240, 240, false};
        default: return {0x1p-127, 0x1p127, false};
    }
}

}  // namespace flb
