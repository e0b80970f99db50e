// Products of bfloat16 matrices on the tiles of AMX, where processor and system have them: sums in float32, as everywhere.
//
// Note [AMX panels]: both operands are packed into tiles of 16 rows of 64 bytes. For A a row holds 32 elements along k;
// for B it holds 16 columns of two neighbouring steps of k, which is what the instruction multiplies. A panel is two
// such tiles (32 rows of A, 32 columns of B) for every 32 steps of k, in the order of k; edges are filled with zeros.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "kernels/gemm_kernels.h"
#include "kernels/packed_gemm.h"

namespace flb {

constexpr int64_t kAmxWidth = 32, kAmxDepth = 32, kAmxTileBytes = 1024;

// Whether the processor has AMX for bfloat16 and the system lets this process use it. FLAMBEAU_CPU_CAPABILITY below
// avx512 says no.
bool amx_available();

// c[m, n] = alpha * a * b + beta * c, all bfloat16.
void amx_gemm(int64_t m, int64_t n, int64_t k, const GemmScale& scale, const GemmSide& a, const GemmSide& b,
              void* c, int64_t ldc);

// ---- isa/gemm_amx.cpp -----------------------------------------------------------------------------------------------

// Packs `count` rows of A or columns of B; element (i, k) is at source[i * stride + k * k_stride], one of them 1.
FLB_KERNEL(amx_pack, void(bool is_a, const void* source, int64_t stride, int64_t k_stride, int64_t count,
                          int64_t k, void* panels));

struct AmxBlock {
    int64_t rows, columns, steps;  // steps of kAmxDepth
    const char *a, *b;             // panels
    int64_t panel_bytes;           // from one panel to the next, of either operand
    float alpha, beta;
    void* c;  // bfloat16
    int64_t ldc;
};
FLB_KERNEL(amx_block, void(const AmxBlock&));

}  // namespace flb
