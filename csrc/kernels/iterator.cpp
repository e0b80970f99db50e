#include "kernels/iterator.h"

#include <atomic>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/interpreter.h"
#include "core/parallel.h"
#include "kernels/block_moves.h"
#include "kernels/streaming.h"
#include "kernels/strided.h"

namespace flb {

void* (*release_interpreter)() = nullptr;
void (*reacquire_interpreter)(void*) = nullptr;

FLB_DEFINE_KERNEL(stream_halves);
FLB_DEFINE_KERNEL(gather_elements);
FLB_DEFINE_KERNEL(scatter_elements);

// ---- the table of loops ---------------------------------------------------------------------------------------------------

namespace {
struct Registered {
    int level;
    const LoopEntry* entries;
    int count;
};
std::vector<Registered>& registered() {
    static auto* list = new std::vector<Registered>();
    return *list;
}
}  // namespace

void register_loops(int level, const LoopEntry* entries, int count) {
    registered().push_back({level, entries, count});
}

// What PyTorch computes in float8, rounding each result, by kind of float8; everything else it refuses, and so do we.
constexpr uint8_t float8_bit(DType t) { return uint8_t(1 << (int(t) - int(DType::Float8_e5m2))); }
static constexpr uint8_t kEvery = 31, kScales = float8_bit(DType::Float8_e8m0fnu),
                         kInfinite = float8_bit(DType::Float8_e5m2);
static constexpr std::pair<const char*, uint8_t> kFloat8Loops[] = {
    {"mul", kEvery},           {"eq", kEvery},       {"ne", kEvery},
    {"isnan", kEvery},         {"isreal", kEvery},   {"conj_physical", kEvery},
    {"abs", kEvery - kScales}, {"isinf", kInfinite}, {"isfinite", kInfinite + kScales},
};

const LoopSet* find_loops(const char* name) {
    // Built at the first question, when the level is known: wider instruction sets overwrite narrower ones.
    static const auto* table = [] {
        auto* map = new std::unordered_map<std::string, LoopSet>();
        for (int level = 0; level <= int(cpu_level()); ++level)
            for (const Registered& r : registered())
                if (r.level == level)
                    for (int i = 0; i < r.count; ++i)
                        (*map)[r.entries[i].name].by_dtype[int(r.entries[i].in)] = {
                            r.entries[i].loop, r.entries[i].out, r.entries[i].light};
        for (const auto& [computed, float8] : kFloat8Loops) (*map)[computed].float8 = float8;
        return map;
    }();
    auto found = table->find(name);
    return found == table->end() ? nullptr : &found->second;
}

static std::vector<Registered>& registered_streaming() {
    static auto* list = new std::vector<Registered>();
    return *list;
}

void register_streaming_loops(int level, const LoopEntry* entries, int count) {
    registered_streaming().push_back({level, entries, count});
}

Loop streaming_loop(Loop ordinary) {
    static const auto* table = [] {
        auto* map = new std::unordered_map<Loop, Loop>();
        for (int level = 0; level <= int(cpu_level()); ++level)
            for (const Registered& r : registered_streaming())
                if (r.level == level)
                    for (int i = 0; i < r.count; ++i)
                        if (const LoopSet* loops = find_loops(r.entries[i].name))
                            (*map)[(*loops)[r.entries[i].in].loop] = r.entries[i].loop;
        return map;
    }();
    auto found = table->find(ordinary);
    return found == table->end() ? nullptr : found->second;
}

bool LoopSet::choose(DType t, DType* compute) const {
    const auto has = [&](DType d) {
        *compute = d;
        return by_dtype[int(d)].loop != nullptr;
    };
    if (is_stored_only(t)) return is_float8(t) && (float8 & float8_bit(t)) && has(DType::Float32);
    if (has(t)) return true;
    switch (t) {
        case DType::Float16:
        case DType::BFloat16: return has(DType::Float32);
        case DType::Complex32: return has(DType::Complex64);
        case DType::UInt8:
        case DType::Int8:
        case DType::Int16:
        case DType::UInt16: return has(DType::Int32) || has(DType::Int64);
        case DType::Int32:
        case DType::UInt32: return has(DType::Int64);
        default: return false;
    }
}

// ---- operands -----------------------------------------------------------------------------------------------------------

void Iterator::add(const Tensor& t, DType loop_dtype, bool written) {
    check(count_ < kMaxOperands, "too many operands");
    Operand& o = operands_[count_++];
    o.data = kernel_pointer(t);
    o.dtype = t.dtype;
    o.loop_dtype = loop_dtype;
    o.written = written;
    casts_ |= t.dtype != loop_dtype;
    // Here rather than on a thread of the pool, which could not raise.
    if (t.dtype != loop_dtype && (is_stored_only(t.dtype) || is_stored_only(loop_dtype)))
        find_cast(t.dtype, loop_dtype);
    o.dense = t.contiguous && t.numel == numel_ && t.sizes == shape_;
    if (o.dense) return;
    const int n = shape_.size(), shift = n - t.ndim();
    check(shift >= 0, "shape ", str(t.sizes), " does not broadcast to ", str(shape_));
    o.strides.resize(n);
    const int64_t width = itemsize(t.dtype);
    for (int i = 0; i < n; ++i) {
        const int64_t size = i < shift ? 1 : t.sizes[i - shift];
        check(size == shape_[i] || (size == 1 && !written), "shape ", str(t.sizes), " does not broadcast to ",
              str(shape_));
        // Nothing bounds the strides of what has one element, or none.
        o.strides[i] = size == 1 || !t.numel ? 0 : t.strides[i - shift] * width;
    }
}

void Iterator::output(const Tensor& t, DType loop_dtype) { add(t, loop_dtype, true); }
void Iterator::input(const Tensor& t, DType loop_dtype) { add(t, loop_dtype, false); }

void Iterator::scalar(const Scalar& value, DType loop_dtype) {
    check(count_ < kMaxOperands, "too many operands");
    Operand& o = operands_[count_++];
    value.store(loop_dtype, o.value);
    o.data = o.value;
    o.dtype = o.loop_dtype = loop_dtype;
    o.written = false;
    o.dense = false;
    o.strides = Dims(shape_.size(), 0);
}

// Merges dimensions until as few as possible are left, innermost first in memory order of the output.
void Iterator::coalesce() {
    const int n = shape_.size();
    bool all_dense = true;
    for (int k = 0; k < count_; ++k) {
        Operand& o = operands_[k];
        if (o.dense) continue;
        bool repeats = true;
        for (int i = 0; i < n; ++i) repeats &= o.strides[i] == 0 || shape_[i] == 1;
        all_dense &= repeats;
    }
    if (all_dense) {
        for (int k = 0; k < count_; ++k) {
            Operand& o = operands_[k];
            o.strides = Dims(1, o.dense ? itemsize(o.dtype) : 0);
        }
        shape_ = Dims(1, numel_);
        return;
    }
    for (int k = 0; k < count_; ++k) {
        Operand& o = operands_[k];
        if (!o.dense) continue;
        o.strides.resize(n);
        int64_t stride = itemsize(o.dtype);
        for (int i = n - 1; i >= 0; --i) {
            o.strides[i] = shape_[i] == 1 ? 0 : stride;
            stride *= shape_[i];
        }
    }
    // Innermost dimension: the smallest strides, the first operand deciding.
    int order[kMaxDims];
    int m = 0;
    for (int i = n - 1; i >= 0; --i) {
        if (shape_[i] == 1) continue;
        int j = m++;
        const auto smaller = [&](int a, int b) {
            for (int k = 0; k < count_; ++k) {
                const int64_t sa = operands_[k].strides[a], sb = operands_[k].strides[b];
                if (sa == sb || sa == 0 || sb == 0) continue;
                return sa < sb;
            }
            return false;
        };
        for (; j > 0 && smaller(i, order[j - 1]); --j) order[j] = order[j - 1];
        order[j] = i;
    }
    Dims shape;
    Dims strides[kMaxOperands];
    for (int d = 0; d < m; ++d) {
        const int i = order[d];
        bool merges = d > 0;
        for (int k = 0; k < count_ && merges; ++k)
            merges = operands_[k].strides[i] == strides[k].back() * shape.back();
        if (merges) {
            shape[shape.size() - 1] *= shape_[i];
        } else {
            shape.push_back(shape_[i]);
            for (int k = 0; k < count_; ++k) strides[k].push_back(operands_[k].strides[i]);
        }
    }
    if (m == 0) {
        shape = Dims(1, 1);
        for (int k = 0; k < count_; ++k) strides[k] = Dims(1, 0);
    }
    shape_ = shape;  // innermost first from here on
    for (int k = 0; k < count_; ++k) operands_[k].strides = strides[k];
}

// ---- running ------------------------------------------------------------------------------------------------------------

namespace {

constexpr int64_t kBlock = 512;
// Elements of operands that each use every line of much memory: they take turns, so that several are on their way at once.
constexpr int64_t kTurns = 64;
constexpr int64_t kGrain = 32768;  // elements; no more stay on the calling thread
// See Iterator::plan_memory.
constexpr int64_t kStreamBytes = int64_t(32) << 20, kTurnBytes = int64_t(1) << 20;
constexpr int64_t kTiledStreamBytes = int64_t(8)
                                      << 20;  // tiles write many rows at a time, which caches bear badly
constexpr int64_t kStreamBlock = 8192;        // bytes
constexpr int64_t kBackwardBlock = 16384;     // elements

}  // namespace

void Iterator::run_inner(Loop loop, const void* params, char** data, const int64_t* strides,
                         int64_t n) const {
    if (!casts_) {
        loop(data, strides, n, params);
        return;
    }
    alignas(64) char buffers[kMaxOperands][kBlock * 16];
    alignas(64) char staging[kBlock * 16];
    char* block_data[kMaxOperands];
    int64_t block_strides[kMaxOperands];
    CastLoop casts[kMaxOperands];
    for (int k = 0; k < count_; ++k) {
        const Operand& o = operands_[k];
        casts[k] = o.dtype == o.loop_dtype ? nullptr
                   : o.written             ? find_cast(o.dtype, o.loop_dtype)
                                           : find_cast(o.loop_dtype, o.dtype);
        block_strides[k] = casts[k] ? itemsize(o.loop_dtype) : strides[k];
        if (casts[k] && !o.written && strides[k] == 0) {
            casts[k](buffers[k], data[k], 1);
            block_strides[k] = 0;
        }
    }
    for (int64_t begin = 0; begin < n; begin += kBlock) {
        const int64_t count = n - begin < kBlock ? n - begin : kBlock;
        for (int k = 0; k < count_; ++k) {
            const Operand& o = operands_[k];
            char* source = data[k] + begin * strides[k];
            if (!casts[k]) {
                block_data[k] = source;
                continue;
            }
            block_data[k] = buffers[k];
            if (o.written || block_strides[k] == 0) continue;
            if (strides[k] == itemsize(o.dtype)) {
                casts[k](buffers[k], source, count);
            } else {
                gather_elements(itemsize(o.dtype), staging, source, strides[k], count);
                casts[k](buffers[k], staging, count);
            }
        }
        loop(block_data, block_strides, count, params);
        for (int k = 0; k < count_; ++k) {
            const Operand& o = operands_[k];
            if (!o.written || !casts[k]) continue;
            char* target = data[k] + begin * strides[k];
            if (strides[k] == itemsize(o.dtype)) {
                casts[k](target, buffers[k], count);
            } else {
                casts[k](staging, buffers[k], count);
                scatter_elements(itemsize(o.dtype), target, strides[k], staging, count);
            }
        }
    }
}

// A line whose output goes past the cache: the loop writes blocks that stay in the first-level cache.
void Iterator::run_line(Loop loop, const void* params, char** data, const int64_t* strides, int64_t n) const {
    if (!casts_ && n > kTurns) {
        int apart = 0;
        for (int k = 0; k < count_; ++k) apart += strides[k] >= 32 && strides[k] < 64;
        if (apart > 1) {
            char* at[kMaxOperands];
            for (int64_t begin = 0; begin < n; begin += kTurns) {
                for (int k = 0; k < count_; ++k) at[k] = data[k] + begin * strides[k];
                loop(at, strides, n - begin < kTurns ? n - begin : kTurns, params);
            }
            return;
        }
    }
    const int64_t width = itemsize(operands_[0].dtype);
    if (!streams_ || strides[0] != width || reinterpret_cast<uintptr_t>(data[0]) % 64) {
        run_inner(loop, params, data, strides, n);
        return;
    }
    if (streaming_ && !casts_) {
        streaming_(data, strides, n, params);
        return;
    }
    alignas(64) char block[kStreamBlock];
    char* at[kMaxOperands];
    const int64_t step = kStreamBlock / width;
    for (int64_t begin = 0; begin < n; begin += step) {
        const int64_t count = n - begin < step ? n - begin : step;
        at[0] = block;
        for (int k = 1; k < count_; ++k) at[k] = data[k] + begin * strides[k];
        run_inner(loop, params, at, strides, count);
        stream_block(data[0] + begin * width, block, count * width);
    }
}

void Iterator::run_range(Loop loop, const void* params, int64_t begin, int64_t end) const {
    char* data[kMaxOperands];
    int64_t strides[kMaxOperands];
    for (int k = 0; k < count_; ++k) strides[k] = operands_[k].strides[0];
    if (shape_.size() == 1) {
        const int64_t block = backward_ ? kBackwardBlock : end - begin;
        for (int64_t stop = end; stop > begin;) {
            const int64_t start = stop - begin > block ? stop - block : begin;
            for (int k = 0; k < count_; ++k) data[k] = operands_[k].data + start * strides[k];
            run_line(loop, params, data, strides, stop - start);
            stop = start;
        }
        if (streams_) std::atomic_thread_fence(std::memory_order_seq_cst);
        return;
    }
    // Position of `begin`, then line by line.
    const int n = shape_.size();
    int64_t index[kMaxDims];
    int64_t rest = begin;
    for (int d = 0; d < n; ++d) {
        index[d] = rest % shape_[d];
        rest /= shape_[d];
    }
    for (int64_t at = begin; at < end;) {
        const int64_t line = shape_[0] - index[0];
        const int64_t count = line < end - at ? line : end - at;
        for (int k = 0; k < count_; ++k) {
            char* p = operands_[k].data;
            for (int d = 0; d < n; ++d) p += index[d] * operands_[k].strides[d];
            data[k] = p;
        }
        run_line(loop, params, data, strides, count);
        at += count;
        index[0] += count;
        for (int d = 0; d + 1 < n && index[d] == shape_[d]; ++d) {
            index[d] = 0;
            ++index[d + 1];
        }
    }
    if (streams_) std::atomic_thread_fence(std::memory_order_seq_cst);
}

// Two ways to spend less time on memory; neither changes a bit of the result.
// A large fresh result will not be in the cache when it is read: written past it, it costs no reading of the lines that it
// replaces. Loops that have no form of their own for that write blocks which are copied; that pays for light ones only, as
// the copying does not overlap with computing. Operators on arrays somewhat larger than the second-level cache take turns in
// direction: each begins where the one before ended, with what is still in the cache.
void Iterator::plan_memory(Loop loop, bool light, int64_t stream_bytes) {
    const Operand& out = operands_[0];
    const int64_t bytes = numel_ * itemsize(out.dtype);
    if (!out.written || bytes < kTurnBytes) return;
    if (bytes < stream_bytes) {
        static bool turn = false;
        turn = !turn;
        backward_ = turn && shape_.size() == 1;
        return;
    }
    streaming_ = streaming_loop(loop);
    streams_ = (light || (streaming_ && !casts_)) && out.strides[0] == itemsize(out.dtype);
    for (int k = 1; k < count_; ++k) streams_ &= operands_[k].data != out.data && !operands_[k].written;
}

void Iterator::run_merged(Loop loop, const void* params) {
    if (numel_ <= kGrain) {
        run_range(loop, params, 0, numel_);
        return;
    }
    Unlocked unlocked(true);
    parallel_for(0, numel_, kGrain, [&](int64_t begin, int64_t end) { run_range(loop, params, begin, end); });
}

void Iterator::run(Loop loop, const void* params, bool light) {
    if (numel_ == 0) return;
    coalesce();
    Tiles tiles;
    const bool tiled = plan_tiles(tiles);
    plan_memory(loop, light, tiled ? kTiledStreamBytes : kStreamBytes);
    if (tiled) run_tiles(loop, params, tiles);
    else run_merged(loop, params);
}

// ---- layout ---------------------------------------------------------------------------------------------------------------

void check_no_partial_overlap(const Tensor& out, const Tensor& in, const char* op_name) {
    const bool same = &out == &in || (out.offset == in.offset && out.sizes == in.sizes &&
                                      out.strides == in.strides && itemsize(out.dtype) == itemsize(in.dtype));
    if (!same) check_no_overlap(out, in, op_name);
}

void check_no_overlap(const Tensor& out, const Tensor& in, const char* op_name) {
    if (out.storage != in.storage || out.numel == 0 || in.numel == 0) return;
    const auto bytes = [](const Tensor& t) {
        return std::pair<int64_t, int64_t>{
            t.offset * itemsize(t.dtype),
            checked_extent_bytes(t.sizes, t.strides, t.offset, itemsize(t.dtype))};
    };
    const auto [ob, oe] = bytes(out);
    const auto [ib, ie] = bytes(in);
    if (oe <= ib || ie <= ob) return;
    // Interleaved windows (rows of a transposed matrix ...) may still be disjoint: like PyTorch, only dense ones are certain.
    if (!is_non_overlapping_and_dense(out) || !is_non_overlapping_and_dense(in)) return;
    fail(ErrorKind::Runtime, op_name,
         "(): unsupported operation: some elements of the input tensor and the written-to "
         "tensor refer to a single memory location. Please clone() the tensor before performing the "
         "operation.");
}

Dims result_strides(const Dims& shape, const Tensor* const* inputs, int count) {
    const int n = shape.size();
    int order[kMaxDims];
    for (int i = 0; i < n; ++i) order[i] = n - 1 - i;
    const auto compare = [&](int a, int b) {  // > 0: a belongs outside b
        for (int k = 0; k < count; ++k) {
            const Tensor& t = *inputs[k];
            const int shift = n - t.ndim();
            const auto stride = [&](int d) {
                return d < shift || t.sizes[d - shift] == 1 ? int64_t(0) : t.strides[d - shift];
            };
            const int64_t sa = stride(a), sb = stride(b);
            if (sa == 0 || sb == 0) continue;
            if (sa != sb) return sa < sb ? -1 : 1;
            if (shape[a] > shape[b]) return 1;
        }
        return 0;
    };
    for (int i = 1; i < n; ++i) {
        int at = i;
        for (int j = i - 1; j >= 0; --j) {
            const int c = compare(order[j], order[at]);
            if (c > 0) {
                std::swap(order[j], order[at]);
                at = j;
            } else if (c < 0) {
                break;
            }
        }
    }
    Dims strides(n);
    int64_t stride = 1;
    for (int i = 0; i < n; ++i) {
        strides[order[i]] = stride;
        stride = wrapping_mul(stride, shape[order[i]] > 1 ? shape[order[i]] : 1);
    }
    return strides;
}

}  // namespace flb
