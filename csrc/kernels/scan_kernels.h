// Scans along one dimension of a contiguous tensor seen as (outer, size, inner).
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

enum class ScanOp : uint8_t { Sum, Prod, LogSumExp, Max, Min };

struct ScanDesc {
    const void* in;
    void* out;
    int64_t* indices;  // Max, Min: the position of the running extremum, the last of equals; a NaN stays
    int64_t outer, size, inner;
};

// In and out have one dtype. Floating types accumulate in double and round each element once. Sum and Prod take all
// dtypes, LogSumExp floating and complex ones, Max and Min real ones; false for others.
FLB_KERNEL(scan_kernel, bool(ScanOp, DType, const ScanDesc&));

}  // namespace flb
