// Squares of elements in registers.
#pragma once
#include "core/scalar_types.h"

namespace flb {
namespace FLB_ISA {

template <int kSize>
struct IntegerOfSize;
template <>
struct IntegerOfSize<1> {
    using type = uint8_t;
};
template <>
struct IntegerOfSize<2> {
    using type = uint16_t;
};
template <>
struct IntegerOfSize<4> {
    using type = uint32_t;
};
template <>
struct IntegerOfSize<8> {
    using type = uint64_t;
};

// A square of N x N elements in N vectors. Interleaving row i with row i + N/2, log2(N) times over, transposes it.
template <class T, int kBytes>
struct Square {
    static constexpr int kSide = kBytes / int(sizeof(T));
    typedef T Vector __attribute__((vector_size(kBytes)));

    static FLB_INLINE void transpose(Vector (&a)[kSide]) {
        using All = typename MakeIndices<kSide>::type;
        Vector b[kSide];
        for (int done = 1; done < kSide; done *= 2) {
            for (int i = 0; i < kSide / 2; ++i) {
                b[2 * i] = interleave<0>(a[i], a[i + kSide / 2], All{});
                b[2 * i + 1] = interleave<kSide / 2>(a[i], a[i + kSide / 2], All{});
            }
            for (int i = 0; i < kSide; ++i) a[i] = b[i];
        }
    }

  private:
    using Index = typename IntegerOfSize<sizeof(T)>::type;
    typedef Index Mask __attribute__((vector_size(kBytes)));
    template <int... I>
    struct Indices {};
    template <int N, int... I>
    struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
    template <int... I>
    struct MakeIndices<0, I...> {
        using type = Indices<I...>;
    };
    // From element `start` of both: a0 b0 a1 b1 ...
    template <int start, int... I>
    static FLB_INLINE Vector interleave(Vector a, Vector b, Indices<I...>) {
        return __builtin_shuffle(a, b, Mask{Index(start + I / 2 + I % 2 * kSide)...});
    }
};

}  // namespace FLB_ISA
}  // namespace flb
