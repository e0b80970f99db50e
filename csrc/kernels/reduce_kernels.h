// Reductions: one driver over memory (reduce.cpp) and, per operator and dtype, a small set of loops.
//
// The reduced elements of one result are taken in blocks; block results are joined in a balanced tree that depends
// on the number of blocks alone. A thread may work out any aligned subtree, so the bits of a result do not depend on
// the number of threads, and the error of a sum grows with the logarithm of its length.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

enum class ReduceOp : uint8_t {
    Sum,
    NanSum,
    Prod,  // accumulated in float (float16, bfloat16, float32), double, int64 or complex
    Min,
    Max,  // a NaN wins
    Any,
    All,
    CountNonzero,
    SumAbs,
    SumSquare,
    MaxAbs,
    MinAbs,
    SumPow,  // the vector norms before their root; complex reads |z|
    ArgMin,
    ArgMax,   // out: value, out2: int64 index; the first of equals, the first NaN before all
    Moments,  // out: second moment, out2: mean; accumulated in double
};

// What to do with an accumulated value on its way to `out`.
enum class ReduceFinish : uint8_t { None, Divide, Sqrt, Pow };
struct ReduceParams {
    ReduceFinish finish = ReduceFinish::None;
    double argument =
        0;  // divisor (Divide), exponent (Pow); Moments divides by it (clamped at zero), then finishes
    double power = 0;  // SumPow: exponent of each element
};

constexpr int kReduceMaxDims = 64;
// Dimension 0 is the innermost; strides in bytes. An output pointer may be null where it is not wanted.
struct ReduceDesc {
    const char* in;
    char* out;
    char* out2;
    int kept_ndim, reduced_ndim;
    int64_t kept_size[kReduceMaxDims], kept_in[kReduceMaxDims], kept_out[kReduceMaxDims],
        kept_out2[kReduceMaxDims];
    int64_t reduced_size[kReduceMaxDims], reduced_in[kReduceMaxDims];
};

// The description of reducing the dimensions in `reduce_mask` of a strided input, dimensions merged where possible.
// All arrays have ndim entries, outermost first, in bytes; the output strides of reduced dimensions are ignored.
// keep_order: elements are counted in the input's logical order (ArgMin, ArgMax); otherwise in the order of memory.
ReduceDesc make_reduce_desc(int ndim, const int64_t* sizes, const int64_t* in_strides,
                            const int64_t* out_strides, const int64_t* out2_strides, uint64_t reduce_mask,
                            bool keep_order);

// Results of nothing are the operator's neutral element. out_dtype: any dtype that the accumulator converts to.
void reduce(ReduceOp op, DType in_dtype, DType out_dtype, const ReduceDesc& desc,
            const ReduceParams& params = {});

// The loops of one operator on one dtype; `acc` arrays hold n accumulators in the operator's own layout, acc_size
// bytes each.
struct ReduceLoops {
    int item_size;    // of an element in memory
    int loaded_size;  // of an element after `load`; == item_size and direct: loading may be left out
    int acc_size;
    int block_rows;  // rows per block when columns are reduced
    bool direct;
    void (*load)(const char* src, int64_t stride, int64_t n, void* loaded, const ReduceParams&);
    // acc[0] = the reduction of n loaded elements; `first` is the index of the first.
    void (*fold)(const void* loaded, int64_t n, int64_t first, void* acc);
    // acc[j] = the reduction of loaded[0..rows)[j], rows row_stride bytes apart, for j in [0, n).
    void (*fold_rows)(const void* loaded, int64_t row_stride, int64_t rows, int64_t n, int64_t first,
                      void* acc);
    void (*merge)(void* acc, const void* later, int64_t n);  // acc[j] = acc[j] op later[j]
    void (*identity)(void* acc, int64_t n);
    // acc[r] = fold of row r of n loaded elements, the rows row_stride bytes apart. May be null.
    void (*fold_many)(const void* loaded, int64_t n, int64_t row_stride, int64_t rows, void* acc) = nullptr;
};
// Writes n accumulators; its own table because it depends on the output's dtype.
using ReduceStore = void (*)(const void* acc, int64_t n, char* out, int64_t stride, char* out2,
                             int64_t stride2, const ReduceParams&);

FLB_KERNEL(reduce_basic_loops, const ReduceLoops*(ReduceOp, DType));
FLB_KERNEL(reduce_norm_loops, const ReduceLoops*(ReduceOp, DType));
FLB_KERNEL(reduce_arg_loops, const ReduceLoops*(ReduceOp, DType));
FLB_KERNEL(reduce_moments_loops, const ReduceLoops*(ReduceOp, DType));
ReduceStore reduce_store(ReduceOp op, DType in_dtype, DType out_dtype);

// The type in which an operator accumulates.
enum class AccType : uint8_t { Int32, Int64, UInt64, Float, Double, ComplexFloat, ComplexDouble };
AccType reduce_acc_type(ReduceOp op, DType in_dtype);

}  // namespace flb
