#include "kernels/isa/intrinsics.h"  // before anything else that may include them

#include "core/dtype.h"
#include "core/scalar_types.h"
#include "kernels/select_kernels.h"

namespace flb {
namespace FLB_ISA {

static int64_t count_bytes_impl(const uint8_t* mask, int64_t n) {
    int64_t count = 0;
    for (int64_t begin = 0; begin < n; begin += 1 << 20) {
        const int64_t stop = n - begin < (1 << 20) ? n : begin + (1 << 20);
        uint32_t part = 0;
        for (int64_t i = begin; i < stop; ++i) part += mask[i] != 0;
        count += part;
    }
    return count;
}

// Every element is written to the next free place, and counted only if it stays: no branch to mispredict.
template <class T>
FLB_INLINE int64_t compress_rest(T* out, const T* in, const uint8_t* mask, int64_t i, int64_t n,
                                 int64_t count, int64_t room) {
    for (; i < n && count < room; ++i) {
        if constexpr (sizeof(T) == 8) out[count] = in ? in[i] : T(i);
        else out[count] = in[i];
        count += mask[i] != 0;
    }
    return count;
}

template <class T>
int64_t compress(T* out, const T* in, const uint8_t* mask, int64_t n, int64_t room) {
    int64_t i = 0, count = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        for (; i + 16 <= n && count + 16 <= room; i += 16) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + i));
            const __mmask16 on = _mm_test_epi8_mask(bytes, bytes);
            _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(on, _mm512_loadu_si512(in + i)));
            count += __builtin_popcount(on);
        }
    } else if constexpr (sizeof(T) == 8) {
        __m512i positions = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
        for (; i + 8 <= n && count + 8 <= room; i += 8) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(mask + i));
            const __mmask8 on = __mmask8(_mm_test_epi8_mask(bytes, bytes));
            const __m512i x = in ? _mm512_loadu_si512(in + i) : positions;
            _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi64(on, x));
            count += __builtin_popcount(on);
            positions = _mm512_add_epi64(positions, _mm512_set1_epi64(8));
        }
    }
#endif
    if constexpr (sizeof(T) == 16) {
        for (; i < n && count < room; ++i)
            if (mask[i]) out[count++] = in[i];
        return count;
    } else {
        return compress_rest(out, in, mask, i, n, count, room);
    }
}

static int64_t compress_impl(int width, void* out, const void* in, const uint8_t* mask, int64_t n,
                             int64_t room) {
    const auto run = [&](auto tag) {
        using T = typename decltype(tag)::type;
        return compress(static_cast<T*>(out), static_cast<const T*>(in), mask, n, room);
    };
    switch (width) {
        case 1: return run(Type<uint8_t>{});
        case 2: return run(Type<uint16_t>{});
        case 4: return run(Type<uint32_t>{});
        case 8: return run(Type<uint64_t>{});
        default: return run(Type<Bytes16>{});
    }
}

static void float_keys_impl(uint32_t* keys, const float* in, int64_t n, uint32_t flip) {
    for (int64_t i = 0; i < n; ++i) {
        const float x = in[i];
        const uint32_t bits = __builtin_bit_cast(uint32_t, x + 0.0f);  // -0 + 0 is +0
        const uint32_t negative = uint32_t(int32_t(bits) >> 31);
        const uint32_t key = bits ^ (negative | 0x80000000u);
        keys[i] = (x != x ? 0xffffffffu : key) ^ flip;
    }
}

static int64_t keys_not_above_impl(const uint32_t* keys, int64_t begin, int64_t n, uint32_t bar,
                                   int32_t* positions, int64_t room, int64_t* found) {
    int64_t i = begin, count = 0;
#if defined(__AVX512F__)
    __m512i at = _mm512_add_epi32(_mm512_set1_epi32(int32_t(begin)),
                                  _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __m512i bars = _mm512_set1_epi32(int32_t(bar)), step = _mm512_set1_epi32(16);
    for (; i + 16 <= n && count + 16 <= room; i += 16, at = _mm512_add_epi32(at, step)) {
        const __mmask16 in = _mm512_cmple_epu32_mask(_mm512_loadu_si512(keys + i), bars);
        if (!in) continue;
        _mm512_storeu_si512(positions + count, _mm512_maskz_compress_epi32(in, at));
        count += __builtin_popcount(in);
    }
    if (i + 16 <= n) {
        *found = count;
        return i;
    }
#endif
    for (; i < n && count + 16 <= room; ++i) {
        positions[count] = int32_t(i);
        count += keys[i] <= bar;
    }
    *found = count;
    return i;
}

static void least_of_groups_impl(const uint32_t* keys, int64_t n, uint32_t (&least)[64]) {
    uint32_t low[64];
    for (int j = 0; j < 64; ++j) low[j] = keys[j];
    int64_t i = 64;
    for (; i + 64 <= n; i += 64)
        for (int j = 0; j < 64; ++j) low[j] = keys[i + j] < low[j] ? keys[i + j] : low[j];
    for (int j = 0; i < n; ++i, ++j) low[j] = keys[i] < low[j] ? keys[i] : low[j];
    for (int j = 0; j < 64; ++j) least[j] = low[j];
}

static int64_t count_not_above_impl(const uint32_t* keys, int64_t n, uint32_t bar) {
    int64_t count = 0;
    for (int64_t begin = 0; begin < n; begin += 1 << 20) {
        const int64_t stop = n - begin < (1 << 20) ? n : begin + (1 << 20);
        uint32_t part = 0;
        for (int64_t i = begin; i < stop; ++i) part += keys[i] <= bar;
        count += part;
    }
    return count;
}

template <class T>
void add_rows(T* out, int64_t out_step, int64_t limit, const int64_t* ids, int64_t count, const T* in,
              int64_t in_step, int64_t slice) {
    for (int64_t i = 0; i < count; ++i) {
        const int64_t id = ids[i];
        if (uint64_t(id) >= uint64_t(limit)) continue;
        T* to = out + id * out_step;
        const T* from = in + i * in_step;
        for (int64_t k = 0; k < slice; ++k) to[k] += from[k];
    }
}

static bool add_slices_impl(DType dtype, void* out, int64_t out_step, int64_t limit, const int64_t* ids,
                            int64_t count, const void* in, int64_t in_step, int64_t slice) {
    const auto run = [&](auto tag) {
        using T = typename decltype(tag)::type;
        add_rows(static_cast<T*>(out), out_step, limit, ids, count, static_cast<const T*>(in), in_step,
                 slice);
        return true;
    };
    switch (dtype) {
        case DType::Float32: return run(Type<float>{});
        case DType::Float64: return run(Type<double>{});
        case DType::Int32: return run(Type<uint32_t>{});
        case DType::Int64: return run(Type<uint64_t>{});
        default: return false;
    }
}

FLB_REGISTER_KERNEL(count_nonzero_bytes, &count_bytes_impl);
FLB_REGISTER_KERNEL(compress_elements, &compress_impl);
FLB_REGISTER_KERNEL(float_keys, &float_keys_impl);
FLB_REGISTER_KERNEL(keys_not_above, &keys_not_above_impl);
FLB_REGISTER_KERNEL(least_of_groups, &least_of_groups_impl);
FLB_REGISTER_KERNEL(count_not_above, &count_not_above_impl);
FLB_REGISTER_KERNEL(add_slices, &add_slices_impl);

}  // namespace FLB_ISA
}  // namespace flb
