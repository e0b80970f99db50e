#include "kernels/block_moves.h"

#include <cstring>

#include "core/dtype.h"
#include "core/scalar_types.h"
#include "kernels/isa/square.h"
#include "kernels/isa/transpose.h"
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

template <class T>
FLB_INLINE void move_square(T* out, int64_t out_stride, const T* in, int64_t in_stride) {
    using S = Square<T, 16>;
    typename S::Vector a[S::kSide];
    for (int i = 0; i < S::kSide; ++i) std::memcpy(&a[i], in + i * in_stride, 16);
    S::transpose(a);
    for (int i = 0; i < S::kSide; ++i) std::memcpy(out + i * out_stride, &a[i], 16);
}

// Squares of whole vectors, of elements as wide as these.
template <class T>
using Turned = std::conditional_t<sizeof(T) == 4, float, std::conditional_t<sizeof(T) == 8, double, void>>;
// Not inlined: the addresses of its lines would fill the registers of the loops around it.
template <class T>
[[gnu::noinline]] void move_vectors(T* out, int64_t out_stride, const T* in, int64_t in_stride, bool stream) {
    using F = Turned<T>;
    Vector<F> a[kLanes<F>];
    for (int i = 0; i < kLanes<F>; ++i) std::memcpy(&a[i], in + i * in_stride, sizeof a[i]);
    transpose(a);
#if defined(__AVX512F__)
    if (stream) {
        for (int i = 0; i < kLanes<F>; ++i)
            _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i * out_stride), (__m512i)a[i]);
        return;
    }
#endif
    for (int i = 0; i < kLanes<F>; ++i) std::memcpy(out + i * out_stride, &a[i], sizeof a[i]);
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
                move_square(out + r * out_stride + c, out_stride, in + c * in_stride + r, in_stride);
            transpose_scalar(out + r * out_stride + c, out_stride, in + c * in_stride + r, in_stride, kSide,
                             cols - c);
        }
    }
    transpose_scalar(out + r * out_stride, out_stride, in + r, in_stride, rows - r, cols);
}

template <class T>
FLB_INLINE void transpose_line(T* out, int64_t out_stride, const T* in, int64_t in_stride, int64_t rows,
                               int64_t cols, bool stream) {
    if constexpr (kTurnsInRegisters<Turned<T>>) {
        constexpr int64_t kSide = kLanes<Turned<T>>;
        if (rows % kSide == 0 && cols % kSide == 0) {
            for (int64_t r = 0; r < rows; r += kSide)
                for (int64_t c = 0; c < cols; c += kSide)
                    move_vectors(out + r * out_stride + c, out_stride, in + c * in_stride + r, in_stride,
                                 stream);
            return;
        }
    }
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
    // Down the rows of `out`, a strip of four lines: whole lines are written next to each other, and the reads run along
    // the rows of `in`, sent for four lines ahead, to the second-level cache: in the first, rows whose distance is a power of
    // two would push each other out. Half as wide where these fall into few sets of the second-level cache.
    constexpr int64_t kLine = 64 / int64_t(sizeof(T));
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    const int64_t strip = in_stride * int64_t(sizeof(T)) % 16384 ? 4 * kLine : 2 * kLine;
    for (int64_t left = 0; left < cols; left += strip) {
        const int64_t right = least(cols, left + strip);
        for (int64_t r = 0; r < rows; r += kLine) {
            const int64_t height = least(kLine, rows - r);
            for (int64_t c = left; c < right; c += kLine) {
                const int64_t width = least(kLine, right - c);
                const T* from = in + c * in_stride + r;
                for (int64_t i = 0; i < width; ++i)
                    __builtin_prefetch(from + i * in_stride + 4 * kLine, 0, 2);
                transpose_line(out + r * out_stride + c, out_stride, from, in_stride, height, width, stream);
            }
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
