// What a pointwise kernel is: a loop over n elements of up to kMaxOperands operands, outputs first.
#pragma once
#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

constexpr int kMaxOperands = 8;
// The slot of a loop's parameters where it reports a failure (see failure_flag in isa/loops.h).
constexpr int kFailureSlot = 7;

// data[i] and strides[i] (bytes; 0 repeats one element) per operand; params: the operator's scalars, each in a
// 16-byte slot, converted to the loop's input dtype. The loop must accept any strides, and exact aliasing of an output with an
// input of the same strides.
using Loop = void (*)(char* const* data, const int64_t* strides, int64_t n, const void* params);

// One compiled loop: inputs all of dtype `in`, output(s) of dtype `out`.
struct LoopEntry {
    const char* name;
    DType in;
    DType out;
    Loop loop;
    bool light = false;  // about an instruction per operand: memory alone sets its speed
};

// An operator's loops at the chosen instruction set, by input dtype.
struct LoopSet {
    struct Slot {
        Loop loop = nullptr;
        DType out = DType::Float32;
        bool light = false;
    };
    Slot by_dtype[kComputingDTypes];
    uint8_t float8 = 0;  // bit i: DType::Float8_e5m2 + i is computed in float32; see kFloat8Loops

    // The dtype to compute in for operands of dtype t: t itself, or a wider one that holds it exactly
    // (float16 and bfloat16 in float32, small integers in int64, complex32 in complex64). False if there is none.
    bool choose(DType t, DType* compute) const;
    const Slot& operator[](DType t) const {
        static constexpr Slot none;
        return is_stored_only(t) ? none : by_dtype[int(t)];
    }
};

// Called by each csrc/kernels/isa/ file for its level; see FLB_LOOPS in isa/loops.h.
void register_loops(int level, const LoopEntry* entries, int count);
// Null when no loop has that name.
const LoopSet* find_loops(const char* name);

// Contiguous conversion between dtypes.
using CastLoop = void (*)(void* out, const void* in, int64_t n);
CastLoop find_cast(DType to, DType from);  // kernels/float8_cast.cpp; NotImplementedError where there is none
FLB_KERNEL(find_computing_cast, CastLoop(DType to, DType from));
FLB_KERNEL(find_float8_encoder, CastLoop(DType to));  // from float32
// float32 to float16 past the cache, into memory aligned to 64 bytes; followed by a fence as stream_block (block_moves.h).
FLB_KERNEL(stream_halves, void(void* out, const float* in, int64_t n));
// where(condition, a, b) on elements of `width` bytes; the condition is one byte.
FLB_KERNEL(find_where, Loop(int width));

}  // namespace flb
