// Ready loops, map_exp(out, a, n) and so on, for the functions that exist for sixteen floats at a time, too.
#pragma once
#include "kernels/isa/intrinsics.h"  // before anything else that may include them

#include "kernels/isa/vmath.h"
#include "kernels/isa/vmath_avx512.h"

namespace flb {
namespace FLB_ISA {

#if defined(__AVX512F__)
#define FLB_MAP_FLOATS(name) \
    FLB_INLINE void map_##name(float* out, const float* a, int64_t n) { map16<name##16>(out, a, n); }
#else
#define FLB_MAP_FLOATS(name)                                            \
    FLB_INLINE void map_##name(float* out, const float* a, int64_t n) { \
        FLB_IVDEP                                                       \
        for (int64_t i = 0; i < n; ++i) out[i] = v##name(a[i]);         \
    }
#endif
#define FLB_MAP(name)                                                     \
    FLB_MAP_FLOATS(name)                                                  \
    FLB_INLINE void map_##name(double* out, const double* a, int64_t n) { \
        FLB_IVDEP                                                         \
        for (int64_t i = 0; i < n; ++i) out[i] = v##name(a[i]);           \
    }
FLB_MAP(exp)
FLB_MAP(log)
FLB_MAP(tanh)
FLB_MAP(sigmoid)
FLB_MAP(silu)
FLB_MAP(erf)
FLB_MAP(gelu)
FLB_MAP(gelu_tanh)
#undef FLB_MAP
#undef FLB_MAP_FLOATS

}  // namespace FLB_ISA
}  // namespace flb
