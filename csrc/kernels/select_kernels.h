// Picking elements out of a contiguous block.
#pragma once
#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// How many bytes are not zero.
FLB_KERNEL(count_nonzero_bytes, int64_t(const uint8_t* mask, int64_t n));
// The elements (of `width` bytes) whose mask byte is not zero, or with in == null their positions as int64, in order and no
// more than `room`; how many they were.
FLB_KERNEL(compress_elements,
           int64_t(int width, void* out, const void* in, const uint8_t* mask, int64_t n, int64_t room));

// Unsigned numbers that order as floats do, NaN above all and -0 equal to +0; complemented by `flip`.
FLB_KERNEL(float_keys, void(uint32_t* keys, const float* in, int64_t n, uint32_t flip));
// From position `begin` on, the positions of keys <= bar, until fewer than 16 places are left of `room`. Returns where the
// search stopped; *found says how many there are.
FLB_KERNEL(keys_not_above, int64_t(const uint32_t* keys, int64_t begin, int64_t n, uint32_t bar,
                                   int32_t* positions, int64_t room, int64_t* found));
// The least of the keys at every 64th position, from each of the first 64 on; n >= 64.
FLB_KERNEL(least_of_groups, void(const uint32_t* keys, int64_t n, uint32_t (&least)[64]));
FLB_KERNEL(count_not_above, int64_t(const uint32_t* keys, int64_t n, uint32_t bar));

// out[ids[i]] += in[i] for slices of `slice` contiguous elements; steps in elements. Positions outside [0, limit) are
// passed over. False, and nothing done, for dtypes that have no such loop.
FLB_KERNEL(add_slices, bool(DType, void* out, int64_t out_step, int64_t limit, const int64_t* ids,
                            int64_t count, const void* in, int64_t in_step, int64_t slice));

}  // namespace flb
