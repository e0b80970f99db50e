// What packing bfloat16 panels for AMX and for pairs share: blocks of 16 by 32 elements in registers.
#pragma once
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

// 16 rows of 32 elements along k: `count` rows and `depth` elements exist.
FLB_INLINE void rows_along_k(const uint16_t* source, int64_t stride, int64_t count, int64_t depth,
                             Vector<float> (&rows)[16]) {
    const __mmask32 mask = depth >= 32 ? ~__mmask32(0) : (__mmask32(1) << depth) - 1;
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
        rows[i] =
            i < count ? (Vector<float>)_mm512_maskz_loadu_epi16(mask, source + i * stride) : Vector<float>{};
}

}  // namespace FLB_ISA
}  // namespace flb
