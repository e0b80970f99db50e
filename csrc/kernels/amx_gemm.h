// Products of bfloat16 matrices on the tiles of AMX, where processor and system have them: sums in float32, as everywhere.
//
// Note [AMX panels]: both operands are packed into tiles of 16 rows of 64 bytes. For A a row holds 32 elements along k;
// for B it holds 16 columns of two neighbouring steps of k, which is what the instruction multiplies. A panel is two
// such tiles (32 rows of A, 32 columns of B) for every 32 steps of k, in the order of k; edges are filled with zeros.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "kernels/bfloat16_gemm.h"

namespace flb {

constexpr int64_t kAmxWidth = 32, kAmxDepth = 32, kAmxTileBytes = 1024;

// Whether the processor has AMX for bfloat16 and the system lets this process use it. FLAMBEAU_CPU_CAPABILITY below
// avx512 says no.
bool amx_available();

// ---- isa/gemm_amx.cpp -----------------------------------------------------------------------------------------------

FLB_KERNEL(amx_pack, BFloat16Pack);
FLB_KERNEL(amx_block, void(const BFloat16Block&));

}  // namespace flb
