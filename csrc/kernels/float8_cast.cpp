// Conversions between any two dtypes: those of float8 go through float32, a block at a time.
#include <algorithm>
#include <cstring>

#include "core/float8.h"
#include "kernels/loop.h"

namespace flb {

FLB_DEFINE_KERNEL(find_computing_cast);
FLB_DEFINE_KERNEL(find_float8_encoder);

namespace {

constexpr int64_t kBlock = 1024;

void decode(DType t, float* out, const uint8_t* in, int64_t n) {
    const float* values = float8_table(t).values;
    // As bits: a NaN keeps its pattern.
    for (int64_t i = 0; i < n; ++i) std::memcpy(out + i, values + in[i], sizeof(float));
}

// A CastLoop knows only addresses, so that each pair of dtypes needs a function; they differ in constants.
template <DType to, DType from>
void through_float(void* out, const void* in, int64_t n) {
    float block[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
        const int64_t count = std::min(kBlock, n - i);
        const char* source = static_cast<const char*>(in) + i * itemsize(from);
        char* target = static_cast<char*>(out) + i * itemsize(to);
        if constexpr (is_float8(from)) decode(from, block, reinterpret_cast<const uint8_t*>(source), count);
        else find_computing_cast(DType::Float32, from)(block, source, count);
        if constexpr (is_float8(to)) find_float8_encoder(to)(target, block, count);
        else find_computing_cast(to, DType::Float32)(target, block, count);
    }
}

template <DType from>
void decode_loop(void* out, const void* in, int64_t n) {
    decode(from, static_cast<float*>(out), static_cast<const uint8_t*>(in), n);
}

template <DType f8>
CastLoop find_of(bool encodes, DType other) {
    if (is_float8(other)) {
        switch (other) {  // only ever asked for as the source
            case DType::Float8_e5m2: return through_float<f8, DType::Float8_e5m2>;
            case DType::Float8_e4m3fn: return through_float<f8, DType::Float8_e4m3fn>;
            case DType::Float8_e5m2fnuz: return through_float<f8, DType::Float8_e5m2fnuz>;
            case DType::Float8_e4m3fnuz: return through_float<f8, DType::Float8_e4m3fnuz>;
            default: return through_float<f8, DType::Float8_e8m0fnu>;
        }
    }
    if (other == DType::Float32) return encodes ? find_float8_encoder(f8) : decode_loop<f8>;
    return visit(other, [encodes](auto tag) -> CastLoop {
        constexpr DType t = dtype_of<typename decltype(tag)::type>::value;
        return encodes ? through_float<f8, t> : through_float<t, f8>;
    });
}

}  // namespace

CastLoop find_cast(DType to, DType from) {
    if (!is_stored_only(to) && !is_stored_only(from)) return find_computing_cast(to, from);
    if (to == from) {
        const DType bytes = itemsize(to) == 1 ? DType::UInt8 : DType::UInt16;
        return find_computing_cast(bytes, bytes);
    }
    const DType unknown = is_stored_only(to) && !is_float8(to) ? to : from;
    check_as(ErrorKind::NotImplemented, !is_stored_only(unknown) || is_float8(unknown),
             "\"copy_\" not implemented for '", info(unknown).class_name, "'");
    const DType f8 = is_float8(to) ? to : from, other = is_float8(to) ? from : to;
    const bool encodes = is_float8(to);
    switch (f8) {
        case DType::Float8_e5m2: return find_of<DType::Float8_e5m2>(encodes, other);
        case DType::Float8_e4m3fn: return find_of<DType::Float8_e4m3fn>(encodes, other);
        case DType::Float8_e5m2fnuz: return find_of<DType::Float8_e5m2fnuz>(encodes, other);
        case DType::Float8_e4m3fnuz: return find_of<DType::Float8_e4m3fnuz>(encodes, other);
        default: return find_of<DType::Float8_e8m0fnu>(encodes, other);
    }
}

}  // namespace flb
