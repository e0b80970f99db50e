// The table of conversions between dtypes over contiguous blocks.
#include "core/float8.h"
#include "kernels/isa/block_cast.h"
#include "kernels/loop.h"

namespace flb {
namespace FLB_ISA {

template <class To, class From>
void cast_loop(void* out, const void* in, int64_t n) {
    cast_block(static_cast<To*>(out), static_cast<const From*>(in), n);
}

static CastLoop find(DType to, DType from) {
    return visit(to, [&](auto to_tag) {
        return visit(from, [&](auto from_tag) -> CastLoop {
            return cast_loop<typename decltype(to_tag)::type, typename decltype(from_tag)::type>;
        });
    });
}

template <DType t>
void encode_loop(void* out, const void* in, int64_t n) {
    uint8_t* codes = static_cast<uint8_t*>(out);
    const float* values = static_cast<const float*>(in);
    for (int64_t i = 0; i < n; ++i) codes[i] = float8_of<t>(values[i]);
}

static CastLoop find_encoder(DType to) {
    switch (to) {
        case DType::Float8_e5m2: return encode_loop<DType::Float8_e5m2>;
        case DType::Float8_e4m3fn: return encode_loop<DType::Float8_e4m3fn>;
        case DType::Float8_e5m2fnuz: return encode_loop<DType::Float8_e5m2fnuz>;
        case DType::Float8_e4m3fnuz: return encode_loop<DType::Float8_e4m3fnuz>;
        case DType::Float8_e8m0fnu: return encode_loop<DType::Float8_e8m0fnu>;
        default: return nullptr;
    }
}

static void stream_halves_impl(void* out, const float* in, int64_t n) {
    uint16_t* to = static_cast<uint16_t*>(out);
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 32 <= n; i += 32) {
        const __m256i low = _mm512_cvtps_ph(_mm512_loadu_ps(in + i), 0),
                      high = _mm512_cvtps_ph(_mm512_loadu_ps(in + i + 16), 0);
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i),
                            _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), 0));
#endif
    floats_to_halves(to + i, in + i, n - i);
}

FLB_REGISTER_KERNEL(find_computing_cast, find);
FLB_REGISTER_KERNEL(find_float8_encoder, find_encoder);
FLB_REGISTER_KERNEL(stream_halves, stream_halves_impl);

}  // namespace FLB_ISA
}  // namespace flb
