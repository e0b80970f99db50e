// The tile of the matrix product: mr x (2 vectors) of sums fill the registers, beside the vectors of B and one broadcast
// element of A.
#pragma once
#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kMr = 12;
#elif defined(__AVX2__)
constexpr int kMr = 6;
#else
constexpr int kMr = 4;
#endif
constexpr int kNv = 2;
template <class T>
constexpr int kNr = kNv * kLanes<T>;

// Three rows share a pointer: the addresses are pointer, pointer + stride, pointer + 2 * stride. The empty instructions
// keep GCC from holding pairs of pointers in vector registers.
template <class T, int Rows, bool kPanels>
struct RowPointers {
    const T *p0, *p1, *p2, *p3, *p4;
    int64_t stride;
    FLB_INLINE RowPointers(const T* a, int64_t a_stride)
        : p0(a),
          p1(a + 3 * a_stride),
          p2(a + 6 * a_stride),
          p3(a + 9 * a_stride),
          p4(a + 12 * a_stride),
          stride(a_stride) {
        hold();
    }
    FLB_INLINE const T& at(int row, int k) const {
        if constexpr (kPanels) return p0[row + k * kMr];
        const T* p = row < 3 ? p0 : row < 6 ? p1 : row < 9 ? p2 : row < 12 ? p3 : p4;
        return p[row % 3 * stride + k];
    }
    FLB_INLINE void advance(int k) {
        if constexpr (kPanels) {
            p0 += k * kMr;
        } else {
            p0 += k, p1 += k, p2 += k, p3 += k, p4 += k;
            hold();
        }
    }
    FLB_INLINE void hold() {
        __asm__("" : "+r"(p0), "+r"(p1), "+r"(p2), "+r"(p3));
        if constexpr (Rows > 12) __asm__("" : "+r"(p4));
    }
};

}  // namespace FLB_ISA
}  // namespace flb
