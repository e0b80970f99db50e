#include "kernels/block_moves.h"

#include <cstring>

#include "core/dtype.h"
#include "core/scalar_types.h"
#include "kernels/isa/square.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace flb {
namespace FLB_ISA {

// ---- past the cache -------------------------------------------------------------------------------------------------

static void stream_impl(void* out, const void* in, int64_t nbytes) {
    char* to = static_cast<char*>(out);
    const char* from = static_cast<const char*>(in);
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 64 <= nbytes; i += 64)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
#elif defined(__SSE2__)
    for (; i + 16 <= nbytes; i += 16)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
#endif
    std::memcpy(to + i, from + i, size_t(nbytes - i));
}

// ---- transposing ----------------------------------------------------------------------------------------------------

template <class T, int kBytes>
FLB_INLINE void move_square(T* out, int64_t out_stride, const T* in, int64_t in_stride, bool stream) {
    using S = Square<T, kBytes>;
    typename S::Vector a[S::kSide];
    for (int i = 0; i < S::kSide; ++i) std::memcpy(&a[i], in + i * in_stride, kBytes);
    S::transpose(a);
#if defined(__AVX512F__)
    if constexpr (kBytes == 64) {
        if (stream) {
            for (int i = 0; i < S::kSide; ++i)
                _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i * out_stride), (__m512i)a[i]);
            return;
        }
    }
#endif
    for (int i = 0; i < S::kSide; ++i) std::memcpy(out + i * out_stride, &a[i], kBytes);
}

template <class T>
FLB_INLINE void transpose_scalar(T* out, int64_t out_stride, const T* in, int64_t in_stride, int64_t rows,
                                 int64_t cols) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) out[r * out_stride + c] = in[c * in_stride + r];
}

// At most a cache line each way.
template <class T>
FLB_INLINE void transpose_part(T* out, int64_t out_stride, const T* in, int64_t in_stride, int64_t rows,
                               int64_t cols) {
    int64_t r = 0;
    if constexpr (sizeof(T) < 16) {
        constexpr int64_t kSide = Square<T, 16>::kSide;
        for (; r + kSide <= rows; r += kSide) {
            int64_t c = 0;
            for (; c + kSide <= cols; c += kSide)
                move_square<T, 16>(out + r * out_stride + c, out_stride, in + c * in_stride + r, in_stride,
                                   false);
            transpose_scalar(out + r * out_stride + c, out_stride, in + c * in_stride + r, in_stride, kSide,
                             cols - c);
        }
    }
    transpose_scalar(out + r * out_stride, out_stride, in + r, in_stride, rows - r, cols);
}

template <class T>
FLB_INLINE void transpose_line(T* out, int64_t out_stride, const T* in, int64_t in_stride, int64_t rows,
                               int64_t cols, bool stream) {
#if defined(__AVX512F__)
    constexpr int64_t kLine = 64 / int64_t(sizeof(T));
    if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
        if (rows == kLine && cols == kLine) {
            move_square<T, 64>(out, out_stride, in, in_stride, stream);
            return;
        }
    }
#endif
    transpose_part(out, out_stride, in, in_stride, rows, cols);
}

// A few columns next to each other, as the colours of an image: whole vectors are interleaved.
template <int kColumns, class T>
void interleave(T* __restrict out, const T* __restrict in, int64_t in_stride, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r)
        for (int c = 0; c < kColumns; ++c) out[r * kColumns + c] = in[c * in_stride + r];
}

template <class T>
void transpose(T* out, int64_t out_stride, const T* in, int64_t in_stride, int64_t rows, int64_t cols,
               bool stream) {
    if (out_stride == cols) {
        if (cols == 2) return interleave<2>(out, in, in_stride, rows);
        if (cols == 3) return interleave<3>(out, in, in_stride, rows);
        if (cols == 4) return interleave<4>(out, in, in_stride, rows);
    }
    constexpr int64_t kLine = 64 / int64_t(sizeof(T));
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    // Down the rows of `out`, two lines wide: the reads run along 2 kLine rows of `in`, which the processor foresees; the
    // lines to be written it does not.
    for (int64_t c = 0; c < cols; c += 2 * kLine) {
        const int64_t first = least(kLine, cols - c), second = least(kLine, cols - c - first);
        for (int64_t r = 0; r < rows; r += kLine) {
            const int64_t height = least(kLine, rows - r);
            T* to = out + r * out_stride + c;
            const T* from = in + c * in_stride + r;
            if (!stream) {
                for (int64_t i = 0; i < first + second; ++i)
                    __builtin_prefetch(from + i * in_stride + 2 * kLine);
                for (int64_t i = 0; i < height; ++i) {
                    __builtin_prefetch(to + (kLine + i) * out_stride, 1);
                    __builtin_prefetch(to + (kLine + i) * out_stride + kLine, 1);
                }
            }
            transpose_line(to, out_stride, from, in_stride, height, first, stream);
            if (second)
                transpose_line(to + kLine, out_stride, from + kLine * in_stride, in_stride, height, second,
                               stream);
        }
    }
}

static void transpose_impl(int width, void* out, int64_t out_stride, const void* in, int64_t in_stride,
                           int64_t rows, int64_t cols, bool stream) {
    const auto run = [&](auto tag) {
        using T = typename decltype(tag)::type;
        transpose(static_cast<T*>(out), out_stride, static_cast<const T*>(in), in_stride, rows, cols, stream);
    };
    switch (width) {
        case 1: return run(Type<uint8_t>{});
        case 2: return run(Type<uint16_t>{});
        case 4: return run(Type<uint32_t>{});
        case 8: return run(Type<uint64_t>{});
        default: return run(Type<Bytes16>{});
    }
}

FLB_REGISTER_KERNEL(stream_block, &stream_impl);
FLB_REGISTER_KERNEL(transpose_block, &transpose_impl);

}  // namespace FLB_ISA
}  // namespace flb
