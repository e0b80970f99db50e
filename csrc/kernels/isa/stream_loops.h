// Loops that write past the cache, for results too large to be found in it later (see Iterator::plan_memory). A block of a
// few lines is computed in the first-level cache and streamed from there, so that computing and writing overlap.
//     FLB_STREAMS(FLB_FLOATS(stream_unary, Neg, "neg"));
// beside the FLB_LOOPS of the same names. The output is contiguous and 64-byte aligned; other strides are as for any loop.
#pragma once
#include "kernels/isa/intrinsics.h"  // before anything else that may include them

#include "kernels/isa/loops.h"
#include "kernels/isa/vector.h"
#include "kernels/streaming.h"

namespace flb {
namespace FLB_ISA {

template <class T>
constexpr int64_t kStreamed = 1024 / int64_t(sizeof(T));

template <class T>
FLB_INLINE void stream_lines(T* out, const T* block) {
#if defined(__AVX512F__)
    for (int i = 0; i < 16; ++i)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(out) + i,
                            _mm512_load_si512(reinterpret_cast<const __m512i*>(block) + i));
#elif defined(__SSE2__)
    for (int i = 0; i < 64; ++i)
        _mm_stream_si128(reinterpret_cast<__m128i*>(out) + i,
                         _mm_load_si128(reinterpret_cast<const __m128i*>(block) + i));
#else
    __builtin_memcpy(out, block, 1024);
#endif
}

// compute(out, begin, count) for all n elements.
template <class T, class Compute>
FLB_INLINE void stream_blocks(T* out, int64_t n, Compute compute) {
    alignas(64) T block[kStreamed<T>];
    int64_t i = 0;
    for (; i + kStreamed<T> <= n; i += kStreamed<T>) {
        compute(block, i, kStreamed<T>);
        stream_lines(out + i, block);
    }
    compute(out + i, i, n - i);
}

// Elements of an operand for blocks that are asked for from front to back: in place, or gathered.
template <class T>
struct StreamSource {
    const char* data;
    int64_t stride;
    alignas(64) T block[kStreamed<T>];

    StreamSource(const char* data, int64_t stride) : data(data), stride(stride) {
        if (stride == 0) gather_elements(sizeof(T), block, data, 0, kStreamed<T>);
    }
    bool gathers() const { return stride != 0 && stride != sizeof(T); }
    FLB_INLINE void gather(int64_t begin, int64_t count) {
        gather_elements(sizeof(T), block, data + begin * stride, stride, count);
    }
    FLB_INLINE const T* at(int64_t begin) const {
        return stride == sizeof(T) ? reinterpret_cast<const T*>(data) + begin : block;
    }
};
// A block of every operand whose elements lie apart. Those two apart are read in turn, vector by vector: so lines of all
// of them are on their way at once; this reads one element more, which the last block does not have.
template <class T, class... Source>
FLB_INLINE void gather_block(int64_t begin, int64_t count, int64_t n, Source&... sources) {
    if (count == kStreamed<T> && begin + count < n &&
        ((!sources.gathers() || sources.stride == 2 * sizeof(T)) && ...)) {
        constexpr int64_t L = kLanes<T>;
        constexpr std::make_integer_sequence<int, int(L)> lanes;
        const auto turn = [&](auto& s, int64_t i) __attribute__((always_inline)) {
            if (!s.gathers()) return;
            const T* from = reinterpret_cast<const T*>(s.data) + 2 * (begin + i);
            store(s.block + i, pick<2, 0>(from, lanes));
        };
        for (int64_t i = 0; i < count; i += L) (turn(sources, i), ...);
    } else {
        (void(sources.gathers() ? sources.gather(begin, count) : void()), ...);
    }
}

template <class F, class T>
void unary_stream_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    if (strides[1] != sizeof(T)) return unary_loop<Static<F>, T, T>(data, strides, n, params);
    const T* a = reinterpret_cast<const T*>(data[1]);
    stream_blocks(reinterpret_cast<T*>(data[0]), n, [&](T* out, int64_t begin, int64_t count) {
        FLB_IVDEP
        for (int64_t i = 0; i < count; ++i) out[i] = F::f(a[begin + i]);
    });
}
template <class F, class T>
void map_stream_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    if (strides[1] != sizeof(T)) return unary_map_loop<F, T>(data, strides, n, params);
    const T* a = reinterpret_cast<const T*>(data[1]);
    stream_blocks(reinterpret_cast<T*>(data[0]), n,
                  [&](T* out, int64_t begin, int64_t count) { F::map(out, a + begin, count); });
}
template <class F, class T>
void binary_stream_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    T* to = reinterpret_cast<T*>(data[0]);
    const T *a = reinterpret_cast<const T*>(data[1]), *b = reinterpret_cast<const T*>(data[2]);
    if (strides[1] == sizeof(T) && strides[2] == sizeof(T)) {
        stream_blocks(to, n, [&](T* out, int64_t begin, int64_t count) {
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) out[i] = F::f(a[begin + i], b[begin + i]);
        });
    } else if (strides[1] == sizeof(T) && strides[2] == 0) {
        stream_blocks(to, n, [&, y = *b](T* out, int64_t begin, int64_t count) {
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) out[i] = F::f(a[begin + i], y);
        });
    } else if (strides[1] == 0 && strides[2] == sizeof(T)) {
        stream_blocks(to, n, [&, x = *a](T* out, int64_t begin, int64_t count) {
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) out[i] = F::f(x, b[begin + i]);
        });
    } else {
        StreamSource<T> x(data[1], strides[1]), y(data[2], strides[2]);
        stream_blocks(to, n, [&](T* out, int64_t begin, int64_t count) {
            gather_block<T>(begin, count, n, x, y);
            const T *a = x.at(begin), *b = y.at(begin);
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) out[i] = F::f(a[i], b[i]);
        });
    }
}
// With two numbers, as in clamp.
template <class F, class T>
void ternary_stream_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    if (strides[1] != sizeof(T) || strides[2] || strides[3])
        return ternary_loop<Static<F>, T, T, T, T>(data, strides, n, params);
    const T* a = reinterpret_cast<const T*>(data[1]);
    const T y = *reinterpret_cast<const T*>(data[2]), z = *reinterpret_cast<const T*>(data[3]);
    stream_blocks(reinterpret_cast<T*>(data[0]), n, [&](T* out, int64_t begin, int64_t count) {
        FLB_IVDEP
        for (int64_t i = 0; i < count; ++i) out[i] = F::f(a[begin + i], y, z);
    });
}

template <class F, class T>
constexpr LoopEntry stream_unary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, unary_stream_loop<F, T>};
}
template <class F, class T>
constexpr LoopEntry stream_map(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, map_stream_loop<F, T>};
}
template <class F, class T>
constexpr LoopEntry stream_binary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, binary_stream_loop<F, T>};
}
template <class F, class T>
constexpr LoopEntry stream_ternary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, ternary_stream_loop<F, T>};
}

}  // namespace FLB_ISA
}  // namespace flb

#define FLB_STREAMS(...)                                                                  \
    static const ::flb::LoopEntry FLB_CAT(stream_entries_, __LINE__)[] = {__VA_ARGS__};   \
    [[maybe_unused]] static const bool FLB_CAT(streams_registered_, __LINE__) =           \
        (::flb::register_streaming_loops(                                                 \
             FLB_LEVEL, FLB_CAT(stream_entries_, __LINE__),                               \
             int(sizeof(FLB_CAT(stream_entries_, __LINE__)) / sizeof(::flb::LoopEntry))), \
         true)
