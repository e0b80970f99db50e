// Products of bfloat16 matrices by instructions that multiply bfloat16, where the processor has them: the tiles of AMX
// (amx_gemm.h), else the pairs of AVX512_BF16. Sums in float32, as everywhere; numbers below 2^-126 count as zero.
//
// Note [Panels of pairs]: the instruction of AVX512_BF16 multiplies 16 pairs by 16 pairs of elements and adds both products of
// a pair to one sum, so that two steps of k take the place of one. A panel holds, pair of steps by pair of steps, the pairs
// of 12 rows of A or 32 columns of B; edges are filled with zeros.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "kernels/gemm_kernels.h"
#include "kernels/packed_gemm.h"

namespace flb {

// Whether there is such an instruction. FLAMBEAU_CPU_CAPABILITY below avx512 says no.
bool bfloat16_gemm_available();

// c[m, n] = alpha * a * b + beta * c, all bfloat16.
void bfloat16_gemm(int64_t m, int64_t n, int64_t k, const GemmScale& scale, const GemmSide& a,
                   const GemmSide& b, void* c, int64_t ldc);

// ---- isa/gemm_pairs.cpp, isa/gemm_amx.cpp ---------------------------------------------------------------------------

constexpr int64_t kPairsRows = 12, kPairsColumns = 32, kPairsMostRows = 192;  // of a block

// Packs `count` rows of A or columns of B; element (i, k) is at source[i * stride + k * k_stride], one of them 1.
using BFloat16Pack = void(bool is_a, const void* source, int64_t stride, int64_t k_stride, int64_t count,
                          int64_t k, void* panels);
struct BFloat16Block {
    int64_t rows, columns, k;
    const void* a;
    int64_t a_stride;  // of the rows, even as k is; 0: a is panels, as for AMX it always is
    const char* b;     // panels
    float alpha, beta;
    void* c;
    int64_t ldc;
};
FLB_KERNEL(pairs_pack, BFloat16Pack);
FLB_KERNEL(pairs_block, void(const BFloat16Block&));

}  // namespace flb
