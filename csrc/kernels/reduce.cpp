#include "kernels/reduce_kernels.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/long_folds.h"

namespace flb {

FLB_DEFINE_KERNEL(reduce_basic_loops);
FLB_DEFINE_KERNEL(find_long_fold);
FLB_DEFINE_KERNEL(reduce_norm_loops);
FLB_DEFINE_KERNEL(reduce_arg_loops);
FLB_DEFINE_KERNEL(reduce_moments_loops);

namespace {

constexpr int64_t kBlock = kFoldBlock;
constexpr int64_t kTile = 1024;       // columns taken together, read in place
constexpr int64_t kLoadedTile = 256;  // the same where rows are converted into a buffer first
constexpr int64_t kGrain = 1 << 15;   // elements worth handing to a thread
constexpr int64_t kShortRow = 16;     // rows up to this long are better taken many at a time
constexpr int64_t kMany = 128;        // rows whose results are stored at once; short ones are folded so, too
constexpr int kMaxDepth = 64;

struct Dim {
    int64_t size, in, out, out2;
};

int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

// Drops dimensions of one element and merges neighbours that step evenly; dims run innermost first.
int merge_dims(Dim* dims, int n) {
    int m = 0;
    for (int i = 0; i < n; ++i) {
        if (dims[i].size == 1) continue;
        if (m > 0) {
            Dim& inner = dims[m - 1];
            if (dims[i].in == inner.in * inner.size && dims[i].out == inner.out * inner.size &&
                dims[i].out2 == inner.out2 * inner.size) {
                inner.size *= dims[i].size;
                continue;
            }
        }
        dims[m++] = dims[i];
    }
    return m;
}

int64_t product(const int64_t* sizes, int n) {
    int64_t total = 1;
    for (int i = 0; i < n; ++i) total *= sizes[i];
    return total;
}

struct Position {
    int64_t in = 0, out = 0, out2 = 0;
};

class Reduction {
  public:
    Reduction(const ReduceLoops& loops, LongFold long_fold, ReduceStore store, const ReduceDesc& d,
              const ReduceParams& params)
        : loops_(loops),
          long_fold_(long_fold),
          store_(store),
          d_(d),
          params_(params),
          kept_(product(d.kept_size, d.kept_ndim)),
          reduced_(product(d.reduced_size, d.reduced_ndim)) {}

    void run() {
        if (kept_ == 0) return;
        if (reduced_ == 0) {
            fill_identity();
        } else if (short_rows()) {
            run_short_rows();
        } else if (by_rows()) {
            run_rows();
        } else {
            run_columns();
        }
    }

  private:
    // Rows of a block at most, their elements next to each other: many are folded at once. (The shortest are better taken
    // as columns.)
    bool short_rows() const {
        return loops_.fold_many && d_.kept_ndim > 0 && d_.reduced_ndim == 1 && reduced_ > 4 &&
               reduced_ <= kBlock && run_stride() == loops_.item_size;
    }

    bool by_rows() const {
        if (d_.kept_ndim == 0) return true;
        if (reduced_ <= kShortRow || d_.reduced_ndim == 0) return false;
        return magnitude(d_.reduced_in[0]) <= magnitude(d_.kept_in[0]);
    }

    void fill_identity() {
        alignas(64) char acc[64];
        loops_.identity(acc, 1);
        for (int64_t i = 0; i < kept_; ++i) {
            const Position p = kept_position(i, 0);
            store_(acc, 1, at(d_.out, p.out), 0, at(d_.out2, p.out2), 0, params_);
        }
    }

    static char* at(char* base, int64_t offset) { return base ? base + offset : nullptr; }

    // Where the kept index i lies, counted over the dimensions from first_dim outward.
    Position kept_position(int64_t i, int first_dim) const {
        Position p;
        for (int k = first_dim; k < d_.kept_ndim && i; ++k) {
            const int64_t c = i % d_.kept_size[k];
            i /= d_.kept_size[k];
            p.in += c * d_.kept_in[k];
            p.out += c * d_.kept_out[k];
            p.out2 += c * d_.kept_out2[k];
        }
        return p;
    }

    int64_t reduced_offset(int64_t r) const {
        if (d_.reduced_ndim == 1) return r * d_.reduced_in[0];
        int64_t offset = 0;
        for (int k = 0; k < d_.reduced_ndim && r; ++k) {
            offset += (r % d_.reduced_size[k]) * d_.reduced_in[k];
            r /= d_.reduced_size[k];
        }
        return offset;
    }

    int64_t run_length() const { return d_.reduced_ndim ? d_.reduced_size[0] : 1; }
    int64_t run_stride() const { return d_.reduced_ndim ? d_.reduced_in[0] : 0; }

    // The elements [r, r + n) of one row, loaded: in place if they lie as the loops want them, else in `buffer`.
    const void* load_row(const char* row, int64_t r, int64_t n, char* buffer) const {
        const int64_t run = run_length(), stride = run_stride();
        int64_t within = r % run;
        if (loops_.direct && stride == loops_.item_size && within + n <= run) return row + reduced_offset(r);
        for (int64_t done = 0; done < n;) {
            const int64_t part = std::min(n - done, run - within);
            loops_.load(row + reduced_offset(r + done), stride, part, buffer + done * loops_.loaded_size,
                        params_);
            done += part;
            within = 0;
        }
        return buffer;
    }

    // How many blocks from this one on are folded at once: a subtree of the row's tree, wherever the row is cut.
    int64_t blocks_at_once(int64_t block, int64_t last) const {
        if (!long_fold_ || run_stride() != loops_.item_size) return 1;
        const int64_t r = block * kBlock, run = run_length();
        const int64_t whole =
            std::min({last - block, (reduced_ - r) / kBlock, (run - r % run) / kBlock, kLongFold});
        if (whole < 2) return 1;
        const int64_t aligned = block ? block & -block : kLongFold;
        return std::min(aligned, int64_t(std::bit_floor(uint64_t(whole))));
    }

    // acc = the tree over blocks [first, last) of one row; `first` is a multiple of a power of two >= last - first.
    void reduce_row(const char* row, int64_t first, int64_t last, char* acc) const {
        alignas(64) char buffer[kBlock * 16];
        alignas(64) char stack[kMaxDepth * 32];
        const int size = loops_.acc_size;
        int top = 0;
        for (int64_t block = first; block < last;) {
            const int64_t many = blocks_at_once(block, last), r = block * kBlock;
            char* next = stack + size * top++;
            if (many > 1) {
                long_fold_(row + reduced_offset(r), many, next);
            } else {
                const int64_t n = std::min(kBlock, reduced_ - r);
                loops_.fold(load_row(row, r, n, buffer), n, r, next);
            }
            block += many;
            for (int64_t c = (block - first) / many; !(c & 1); c >>= 1, --top)
                loops_.merge(stack + size * (top - 2), stack + size * (top - 1), 1);
        }
        for (; top > 1; --top) loops_.merge(stack + size * (top - 2), stack + size * (top - 1), 1);
        std::copy(stack, stack + size, acc);
    }

    void run_short_rows() {
        const int64_t inner = d_.kept_size[0], pitch = reduced_ * loops_.loaded_size;
        const int64_t most = loops_.direct ? kMany : std::min(kMany, kBlock / reduced_);
        parallel_for(0, kept_, std::max<int64_t>(1, kGrain / reduced_), [&](int64_t begin, int64_t end) {
            alignas(64) char buffer[kBlock * 16];
            alignas(64) char acc[kMany * 16];
            for (int64_t i = begin; i < end;) {
                const Position p = kept_position(i, 0);
                const int64_t rows = std::min({most, end - i, inner - i % inner});
                const char* in = d_.in + p.in;
                if (loops_.direct) {
                    loops_.fold_many(in, reduced_, d_.kept_in[0], rows, acc);
                } else {
                    if (d_.kept_in[0] == reduced_ * loops_.item_size) {
                        loops_.load(in, loops_.item_size, rows * reduced_, buffer, params_);
                    } else {
                        for (int64_t r = 0; r < rows; ++r)
                            loops_.load(in + r * d_.kept_in[0], loops_.item_size, reduced_,
                                        buffer + r * pitch, params_);
                    }
                    loops_.fold_many(buffer, reduced_, pitch, rows, acc);
                }
                store_columns(acc, rows, p);
                i += rows;
            }
        });
    }

    void run_rows() {
        const int64_t blocks = (reduced_ - 1) / kBlock + 1;
        // Subtrees of whole powers of two, so that cutting a row leaves its tree as it is.
        const int64_t segment = 64;
        if (blocks > segment && kept_ < 4 * int64_t(num_threads())) {
            const int64_t segments = (blocks - 1) / segment + 1;
            const int size = loops_.acc_size;
            std::unique_ptr<char[]> partial(new char[size_t(kept_ * segments * size)]);
            parallel_for(0, kept_ * segments, 1, [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                    const int64_t first = (i % segments) * segment;
                    alignas(64) char acc[64];
                    reduce_row(d_.in + kept_position(i / segments, 0).in, first,
                               std::min(blocks, first + segment), acc);
                    std::copy(acc, acc + size, partial.get() + i * size);
                }
            });
            for (int64_t i = 0; i < kept_; ++i)
                join_segments(partial.get() + i * segments * size, segments, i);
            return;
        }
        const int64_t grain = std::max<int64_t>(1, kGrain / reduced_);
        const int64_t inner = d_.kept_ndim ? d_.kept_size[0] : 1;
        const bool in_place =
            blocks == 1 && loops_.direct && d_.reduced_ndim == 1 && run_stride() == loops_.item_size;
        // The accumulators of the others (values and indices, moments) lie apart when there are several.
        const int64_t most = loops_.fold_many ? kMany : 1;
        parallel_for(0, kept_, grain, [&](int64_t begin, int64_t end) {
            alignas(64) char acc[kMany * 32];
            for (int64_t i = begin; i < end;) {
                const Position p = kept_position(i, 0);
                const int64_t rows = std::min({most, end - i, inner - i % inner});
                const char* in = d_.in + p.in;
                for (int64_t k = 0; k < rows; ++k, in += d_.kept_in[0]) {
                    char* to = acc + k * loops_.acc_size;
                    if (in_place) loops_.fold(in, reduced_, 0, to);
                    else reduce_row(in, 0, blocks, to);
                }
                store_columns(acc, rows, p);
                i += rows;
            }
        });
    }

    void join_segments(const char* partial, int64_t segments, int64_t kept_index) const {
        alignas(64) char stack[kMaxDepth * 32];
        const int size = loops_.acc_size;
        int top = 0;
        for (int64_t s = 0; s < segments; ++s) {
            std::copy(partial + s * size, partial + (s + 1) * size, stack + size * top++);
            for (int64_t c = s + 1; !(c & 1); c >>= 1, --top)
                loops_.merge(stack + size * (top - 2), stack + size * (top - 1), 1);
        }
        for (; top > 1; --top) loops_.merge(stack + size * (top - 2), stack + size * (top - 1), 1);
        const Position p = kept_position(kept_index, 0);
        store_(stack, 1, at(d_.out, p.out), 0, at(d_.out2, p.out2), 0, params_);
    }

    // One block of rows [r, r + rows) of a tile of n columns.
    void fold_block(const char* column, int64_t r, int64_t rows, int64_t n, char* buffer, char* acc) const {
        const int64_t stride = d_.kept_in[0];
        const bool in_one_run = r % run_length() + rows <= run_length();
        if (loops_.direct && stride == loops_.item_size && in_one_run) {
            loops_.fold_rows(column + reduced_offset(r), run_stride(), rows, n, r, acc);
            return;
        }
        const int64_t pitch = n * loops_.loaded_size;
        for (int64_t k = 0; k < rows; ++k)
            loops_.load(column + reduced_offset(r + k), stride, n, buffer + k * pitch, params_);
        loops_.fold_rows(buffer, pitch, rows, n, r, acc);
    }

    void run_columns() {
        const int64_t width = d_.kept_size[0];
        const bool direct = loops_.direct && d_.kept_in[0] == loops_.item_size;
        const int64_t tile = std::min(width, direct ? kTile : kLoadedTile);
        const int64_t tiles = (width - 1) / tile + 1, others = kept_ / width;
        const int64_t block_rows = loops_.block_rows, blocks = (reduced_ - 1) / block_rows + 1;
        // Again powers of two; long enough that joining costs little beside reading.
        int64_t segment = blocks;
        if (tiles * others < 4 * int64_t(num_threads()))
            segment = std::bit_ceil(uint64_t(std::max<int64_t>(1, 4 * kGrain / (block_rows * tile))));
        const int64_t segments = (blocks - 1) / segment + 1;
        const int64_t acc_bytes = tile * loops_.acc_size;
        std::unique_ptr<char[]> partial(segments > 1 ? new char[size_t(others * tiles * segments * acc_bytes)]
                                                     : nullptr);
        const int depth = int(std::bit_width(uint64_t(std::min(blocks, segment)))) + 1;
        const int64_t work = std::max<int64_t>(1, std::min(blocks, segment) * block_rows * tile);
        parallel_for(0, others * tiles * segments, std::max<int64_t>(1, kGrain / work),
                     [&](int64_t begin, int64_t end) {
                         const Scratch scratch(depth * acc_bytes + block_rows * tile * loops_.loaded_size);
                         char* buffer = scratch.begin + depth * acc_bytes;
                         for (int64_t unit = begin; unit < end; ++unit) {
                             const int64_t s = unit % segments, t = unit / segments % tiles,
                                           other = unit / segments / tiles;
                             const int64_t n = std::min(tile, width - t * tile), bytes = n * loops_.acc_size;
                             const Position p = column_position(other, t * tile);
                             const int64_t first = s * segment, last = std::min(blocks, first + segment);
                             int top = 0;
                             for (int64_t block = first; block < last; ++block) {
                                 const int64_t r = block * block_rows;
                                 fold_block(d_.in + p.in, r, std::min(block_rows, reduced_ - r), n, buffer,
                                            scratch.begin + bytes * top++);
                                 for (int64_t c = block - first + 1; !(c & 1); c >>= 1, --top)
                                     merge_top(scratch.begin, top, n);
                             }
                             for (; top > 1; --top) merge_top(scratch.begin, top, n);
                             if (segments > 1) {
                                 std::copy(scratch.begin, scratch.begin + bytes,
                                           partial.get() + unit * acc_bytes);
                             } else {
                                 store_columns(scratch.begin, n, p);
                             }
                         }
                     });
        if (segments == 1) return;
        const Scratch scratch((kMaxDepth + 1) * acc_bytes);
        for (int64_t i = 0; i < others * tiles; ++i) {
            const int64_t t = i % tiles, n = std::min(tile, width - t * tile), bytes = n * loops_.acc_size;
            int top = 0;
            for (int64_t s = 0; s < segments; ++s) {
                const char* from = partial.get() + (i * segments + s) * acc_bytes;
                std::copy(from, from + bytes, scratch.begin + bytes * top++);
                for (int64_t c = s + 1; !(c & 1); c >>= 1, --top) merge_top(scratch.begin, top, n);
            }
            for (; top > 1; --top) merge_top(scratch.begin, top, n);
            store_columns(scratch.begin, n, column_position(i / tiles, t * tile));
        }
    }

    struct Scratch {
        explicit Scratch(int64_t bytes) : memory(new char[size_t(bytes) + 64]) {
            begin = reinterpret_cast<char*>((uintptr_t(memory.get()) + 63) & ~uintptr_t(63));
        }
        std::unique_ptr<char[]> memory;
        char* begin;
    };

    void merge_top(char* stack, int top, int64_t n) const {
        const int64_t bytes = n * loops_.acc_size;
        loops_.merge(stack + bytes * (top - 2), stack + bytes * (top - 1), n);
    }

    Position column_position(int64_t other, int64_t column) const {
        Position p = kept_position(other, 1);
        p.in += column * d_.kept_in[0];
        p.out += column * d_.kept_out[0];
        p.out2 += column * d_.kept_out2[0];
        return p;
    }

    void store_columns(const char* acc, int64_t n, const Position& p) const {
        store_(acc, n, at(d_.out, p.out), d_.kept_out[0], at(d_.out2, p.out2), d_.kept_out2[0], params_);
    }

    const ReduceLoops& loops_;
    const LongFold long_fold_;  // or null
    const ReduceStore store_;
    const ReduceDesc& d_;
    const ReduceParams& params_;
    const int64_t kept_, reduced_;
};

const ReduceLoops* find_loops(ReduceOp op, DType dtype) {
    switch (op) {
        case ReduceOp::SumAbs:
        case ReduceOp::SumSquare:
        case ReduceOp::MaxAbs:
        case ReduceOp::MinAbs:
        case ReduceOp::SumPow: return reduce_norm_loops(op, dtype);
        case ReduceOp::ArgMin:
        case ReduceOp::ArgMax: return reduce_arg_loops(op, dtype);
        case ReduceOp::Moments: return reduce_moments_loops(op, dtype);
        default: return reduce_basic_loops(op, dtype);
    }
}

}  // namespace

ReduceDesc make_reduce_desc(int ndim, const int64_t* sizes, const int64_t* in_strides,
                            const int64_t* out_strides, const int64_t* out2_strides, uint64_t reduce_mask,
                            bool keep_order) {
    check(ndim <= kReduceMaxDims, "reductions take at most ", kReduceMaxDims, " dimensions, got ", ndim);
    Dim kept[kReduceMaxDims], reduced[kReduceMaxDims];
    int kept_n = 0, reduced_n = 0;
    for (int i = ndim - 1; i >= 0; --i) {
        if (reduce_mask >> i & 1) {
            reduced[reduced_n++] = {sizes[i], in_strides[i], 0, 0};
        } else {
            kept[kept_n++] = {sizes[i], in_strides[i], out_strides ? out_strides[i] : 0,
                              out2_strides ? out2_strides[i] : 0};
        }
    }
    const auto by_stride = [](const Dim& a, const Dim& b) { return magnitude(a.in) < magnitude(b.in); };
    std::stable_sort(kept, kept + kept_n, by_stride);
    if (!keep_order) std::stable_sort(reduced, reduced + reduced_n, by_stride);
    kept_n = merge_dims(kept, kept_n);
    reduced_n = merge_dims(reduced, reduced_n);
    ReduceDesc d{};
    d.kept_ndim = kept_n;
    d.reduced_ndim = reduced_n;
    for (int i = 0; i < kept_n; ++i) {
        d.kept_size[i] = kept[i].size;
        d.kept_in[i] = kept[i].in;
        d.kept_out[i] = kept[i].out;
        d.kept_out2[i] = kept[i].out2;
    }
    for (int i = 0; i < reduced_n; ++i) {
        d.reduced_size[i] = reduced[i].size;
        d.reduced_in[i] = reduced[i].in;
    }
    return d;
}

AccType reduce_acc_type(ReduceOp op, DType t) {
    const bool counts =
        op == ReduceOp::Sum || op == ReduceOp::Prod || op == ReduceOp::CountNonzero || op == ReduceOp::NanSum;
    if (op == ReduceOp::Any || op == ReduceOp::All) return AccType::Int32;
    if (op == ReduceOp::CountNonzero) return AccType::Int64;
    if (op == ReduceOp::Moments) return AccType::Double;
    if (op >= ReduceOp::SumAbs && op <= ReduceOp::SumPow) t = info(t).real;
    switch (t) {
        case DType::Float16:
        case DType::BFloat16:
        case DType::Float32: return AccType::Float;
        case DType::Float64: return AccType::Double;
        case DType::Complex32:
        case DType::Complex64: return AccType::ComplexFloat;
        case DType::Complex128: return AccType::ComplexDouble;
        case DType::UInt64: return counts ? AccType::Int64 : AccType::UInt64;
        case DType::Int64:
        case DType::UInt32: return AccType::Int64;
        default: return counts ? AccType::Int64 : AccType::Int32;
    }
}

void reduce(ReduceOp op, DType in_dtype, DType out_dtype, const ReduceDesc& desc,
            const ReduceParams& params) {
    const ReduceLoops* loops = find_loops(op, in_dtype);
    const ReduceStore store = reduce_store(op, in_dtype, out_dtype);
    check_as(ErrorKind::NotImplemented, loops && store, "reduction not implemented for ", name_of(in_dtype),
             " to ", name_of(out_dtype));
    Reduction(*loops, find_long_fold(op, in_dtype), store, desc, params).run();
}

}  // namespace flb
