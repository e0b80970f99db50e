// The iterator: everything tedious about pointwise work, once. It proves windows (the gate), broadcasts, reorders and
// merges dimensions, converts dtypes block by block, and hands ranges to threads.
#pragma once
#include "core/dims.h"
#include "kernels/loop.h"
#include "tensor/tensor.h"

namespace flb {

class Iterator {
  public:
    explicit Iterator(const Dims& shape) : shape_(shape), numel_(checked_numel(shape)) {}

    // Outputs first, then inputs. `loop_dtype` is what the loop reads or writes; it may differ from the tensor's.
    void output(const Tensor& t, DType loop_dtype);
    void input(const Tensor& t, DType loop_dtype);
    void scalar(const Scalar& value, DType loop_dtype);

    // light: see LoopEntry.
    void run(Loop loop, const void* params = nullptr, bool light = false);
    void run(const LoopSet::Slot& slot, const void* params = nullptr) { run(slot.loop, params, slot.light); }

  private:
    struct Operand {
        char* data;
        Dims strides;  // bytes, one per dimension of shape_
        DType dtype, loop_dtype;
        bool written = false;
        bool dense = false;  // contiguous with exactly this shape
        alignas(16) char value[16];
    };
    void add(const Tensor& t, DType loop_dtype, bool written);
    void coalesce();
    // How the work is cut: along dimension 0, the output's fastest, and along `dim`, the turned operands'.
    static constexpr int kTurned = 3;
    struct Tiles {
        int dim = 0;
        int64_t columns, rows;
        bool flat;  // what is not turned is one run of memory over a whole tile
        int turned[kTurned], count = 0;
    };
    bool plan_tiles(Tiles& tiles) const;  // false: all operands agree
    void run_tiles(Loop loop, const void* params, const Tiles& tiles);
    void run_tile_range(Loop loop, const void* params, const Tiles& tiles, int64_t begin, int64_t end) const;
    void plan_memory(Loop loop, bool light, int64_t stream_bytes);
    void run_merged(Loop loop, const void* params);
    void run_range(Loop loop, const void* params, int64_t begin, int64_t end) const;
    void run_inner(Loop loop, const void* params, char** data, const int64_t* strides, int64_t n) const;
    void run_line(Loop loop, const void* params, char** data, const int64_t* strides, int64_t n) const;

    Dims shape_;
    int64_t numel_;
    int count_ = 0;
    bool casts_ = false;
    Loop streaming_ = nullptr;  // see plan_memory
    bool streams_ = false;      // see plan_memory
    bool backward_ = false;
    Operand operands_[kMaxOperands];
};

// Raises PyTorch's error when the written tensor and an input share memory other than exactly.
void check_no_partial_overlap(const Tensor& out, const Tensor& in, const char* op_name);
// The same for operators that can't write the very elements they read either.
void check_no_overlap(const Tensor& out, const Tensor& in, const char* op_name);
// The layout of a fresh pointwise result: keeps the order of the operands' strides, as PyTorch does.
Dims result_strides(const Dims& shape, const Tensor* const* inputs, int count);

}  // namespace flb
