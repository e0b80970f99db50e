// Sorting, selection by rank, unique elements, searches in sorted sequences and counting: dimensions, dtypes and errors.
// The loops over rows are in kernels/sort.cpp.
#include <cmath>
#include <cstring>
#include <limits>

#include "bindings/op.h"
#include "bindings/types.h"
#include "core/interpreter.h"
#include "kernels/iterator.h"
#include "kernels/promotion.h"
#include "kernels/sort_kernels.h"
#include "kernels/unique_kernels.h"

namespace flb {
namespace {

constexpr int64_t kUnlockAbove = 1 << 14;  // elements for which releasing the interpreter's lock is worth it

[[noreturn]] void not_implemented(const char* kernel, DType dtype) {
    fail(ErrorKind::NotImplemented, '"', kernel, "\" not implemented for '", info(dtype).class_name, "'");
}

// ---- one dimension as rows ------------------------------------------------------------------------------------------------

// Kernels see contiguous rows: a dimension other than the last is moved there and copied.
Dims moved_last(const Dims& values, int dim) {
    Dims moved = values;
    if (moved.empty()) return moved;
    moved.erase(dim);
    moved.push_back(values[dim]);
    return moved;
}

TensorRef as_rows(Tensor& in, int dim) {
    if (dim >= in.ndim() - 1) return contiguous(in);
    TensorRef moved = make_view(in, moved_last(in.sizes, dim), moved_last(in.strides, dim), in.offset);
    return contiguous(*moved);
}

// Copies `rows`, whose last dimension belongs at `dim`, to `out`, which has it there.
void copy_rows_into(Tensor& out, Tensor& rows, int dim) {
    TensorRef moved = make_view(out, moved_last(out.sizes, dim), moved_last(out.strides, dim), out.offset);
    copy_into(*moved, rows);
}

SortDesc rows_desc(const Tensor& rows, int64_t n, Tensor* values, Tensor* indices) {
    SortDesc d{kernel_pointer(rows), nullptr, nullptr, n ? rows.numel / n : 0, n};
    if (values) d.values = kernel_pointer(*values);
    if (indices) d.indices = reinterpret_cast<int64_t*>(kernel_pointer(*indices));
    return d;
}

// ---- sort: (input, dim, descending, *, stable, out); argsort gives the indices alone ----------------------------------------

struct Sorted {
    TensorRef values, indices;
};
Sorted sorted_along(Call& call, bool want_values) {
    Tensor& in = call.tensor(0);
    check(!is_complex(in.dtype), "Sort does not support complex dtypes on CPU");
    const int dim = wrap_dim(call.integer(1), in.ndim());
    const bool descending = call.boolean(2), stable = call.boolean(3);
    Sorted out{want_values ? empty_like(in, in.dtype) : TensorRef(), empty_like(in, DType::Int64)};
    if (in.is_meta() || in.numel == 0) return out;
    TensorRef rows = as_rows(in, dim);
    const bool in_place = dim >= in.ndim() - 1 && out.indices->contiguous;
    TensorRef values = !want_values || in_place ? out.values : empty(rows->sizes, in.dtype);
    TensorRef indices = in_place ? out.indices : empty(rows->sizes, DType::Int64);
    {
        const SortDesc d = rows_desc(*rows, in.size(dim), values.get(), indices.get());
        Unlocked unlocked(in.numel > kUnlockAbove);
        sort_rows(in.dtype, d, descending, stable);
    }
    if (!in_place) {
        if (want_values) copy_rows_into(*out.values, *values, dim);
        copy_rows_into(*out.indices, *indices, dim);
    }
    return out;
}

PyObject* sort(Call& call) {
    const Sorted s = sorted_along(call, true);
    return deliver_all(call, {s.values, s.indices});
}
PyObject* argsort(Call& call) { return deliver(call, sorted_along(call, false).indices); }

// ---- topk: (input, k, dim, largest, sorted, *, out) --------------------------------------------------------------------------

PyObject* topk(Call& call) {
    Tensor& in = call.tensor(0);
    const int64_t k = call.integer(1);
    const int dim = wrap_dim(call.integer(2), in.ndim());
    check(!is_complex(in.dtype), "topk does not support complex dtypes on CPU");
    check(in.dtype != DType::Bool, "topk does not support bool dtypes on CPU");
    const bool largest = call.boolean(3), ordered = call.boolean(4);
    check(k >= 0 && k <= in.size(dim), "selected index k out of range");
    Dims sizes = in.sizes;
    if (in.ndim()) sizes[dim] = k;
    TensorRef values = empty(sizes, in.dtype, in.device), indices = empty(sizes, DType::Int64, in.device);
    if (!in.is_meta() && values->numel) {
        TensorRef rows = as_rows(in, dim);
        const bool last = dim >= in.ndim() - 1;
        const Dims moved = moved_last(sizes, dim);
        TensorRef v = last ? values : empty(moved, in.dtype), i = last ? indices : empty(moved, DType::Int64);
        {
            const SortDesc d = rows_desc(*rows, in.size(dim), v.get(), i.get());
            Unlocked unlocked(in.numel > kUnlockAbove);
            // A zero-dimensional tensor has its one element whatever k is.
            topk_rows(in.dtype, d, in.ndim() ? k : 1, largest, ordered);
        }
        if (!last) {
            copy_rows_into(*values, *v, dim);
            copy_rows_into(*indices, *i, dim);
        }
    }
    return deliver_all(call, {values, indices});
}

// ---- one element of each row -------------------------------------------------------------------------------------------------

template <class Kernel>
PyObject* pick(Call& call, const char* kernel_name, int64_t given_dim, bool keepdim, bool takes_bool,
               int64_t k, Kernel&& kernel) {
    Tensor& in = call.tensor(0);
    const int dim = wrap_dim(given_dim, in.ndim());
    if (is_complex(in.dtype) || (in.dtype == DType::Bool && !takes_bool))
        not_implemented(kernel_name, in.dtype);
    Dims sizes = in.sizes;
    if (in.ndim()) {
        if (in.numel == 0 && in.sizes[dim] == 0)
            call.fail(ErrorKind::Index, "Expected reduction dim ", dim, " to have non-zero size.");
        sizes[dim] = 1;
        if (!keepdim) sizes.erase(dim);
    }
    call.check(k >= 1 && k <= in.size(dim), "selected number k out of range for dimension ", dim);
    TensorRef values = empty(sizes, in.dtype, in.device), indices = empty(sizes, DType::Int64, in.device);
    if (!in.is_meta() && values->numel) {
        TensorRef rows = as_rows(in, dim);
        const SortDesc d = rows_desc(*rows, in.size(dim), values.get(), indices.get());
        Unlocked unlocked(in.numel > kUnlockAbove);
        kernel(in.dtype, d);
    }
    return deliver_all(call, {values, indices});
}

// (input, k, dim, keepdim, *, out)
PyObject* kthvalue(Call& call) {
    const Tensor& in = call.tensor(0);
    for (Tensor* out : call.outs(2))
        check(!out || out->numel == 0 || out->storage != in.storage,
              "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
              "single "
              "memory location. Please clone() the tensor before performing the operation.");
    const int64_t k = call.integer(1);
    for (const Tensor* out : call.outs(2)) {
        if (out) check_no_overlap(*out, call.tensor(0), "kthvalue");
    }
    return pick(call, "kthvalue_cpu", call.integer(2), call.boolean(3), false, k,
                [&](DType dtype, const SortDesc& d) { kth_rows(dtype, d, k); });
}
// (input, dim, keepdim, *, out)
template <bool ignore_nan>
PyObject* median(Call& call) {
    return pick(call, "median_cpu", call.integer(1), call.boolean(2), false, 1,
                [&](DType dtype, const SortDesc& d) { median_rows(dtype, d, ignore_nan); });
}
PyObject* mode(Call& call) {
    return pick(call, "mode_cpu", call.integer(1), call.boolean(2), true, 1, mode_rows);
}

// (input, *, out): of all elements
template <bool ignore_nan>
PyObject* median_all(Call& call) {
    Tensor& in = call.tensor(0);
    if (is_complex(in.dtype) || in.dtype == DType::Bool) not_implemented("median_cpu", in.dtype);
    TensorRef value = empty({}, in.dtype, in.device);
    if (!in.is_meta()) {
        if (in.numel == 0) {
            fill(*value, Scalar(std::numeric_limits<double>::quiet_NaN()));
        } else {
            TensorRef flat = contiguous(in);
            const SortDesc d = rows_desc(*flat, in.numel, value.get(), nullptr);
            Unlocked unlocked(in.numel > kUnlockAbove);
            median_rows(in.dtype, d, ignore_nan);
        }
    }
    return deliver(call, value);
}

// ---- unique ------------------------------------------------------------------------------------------------------------------

// (input, bool consecutive, bool return_inverse, bool return_counts) -> (values, inverse, counts): of the rows of a
// matrix, or of the elements of a vector. What was not asked for is empty.
PyObject* unique(Call& call) {
    Tensor& in = call.tensor(0);
    const bool consecutive = call.boolean(1), want_inverse = call.boolean(2), want_counts = call.boolean(3);
    if (is_complex(in.dtype)) not_implemented("unique", in.dtype);
    call.check(!in.is_meta(), "the size of the result depends on the values, which a meta tensor has not");
    call.check(in.ndim() == 1 || in.ndim() == 2, "expected a vector or a matrix, got shape ", str(in.sizes));
    const int64_t n = in.sizes[0], width = in.ndim() == 2 ? in.sizes[1] : 1;
    TensorRef data = in.ndim() == 1 ? contiguous(in) : private_copy(in, in.dtype), order;
    if (!consecutive) {
        order = empty({n}, DType::Int64);
        if (in.ndim() == 1) {
            SortDesc d = rows_desc(*data, n, nullptr, order.get());
            TensorRef sorted = empty(in.sizes, in.dtype);
            d.values = kernel_pointer(*sorted);
            if (n) {
                Unlocked unlocked(n > kUnlockAbove);
                sort_rows(in.dtype, d, false, true);
            }
            data = sorted;
        }
    }
    TensorRef inverse = empty({want_inverse ? n : 0}, DType::Int64), groups = empty({n}, DType::Int64);
    UniqueDesc d{};
    d.data = kernel_pointer(*data);
    d.n = n;
    d.width = width;
    d.order = order ? reinterpret_cast<int64_t*>(kernel_pointer(*order)) : nullptr;
    d.sorted = in.ndim() == 1;
    d.inverse = want_inverse ? reinterpret_cast<int64_t*>(kernel_pointer(*inverse)) : nullptr;
    d.starts = reinterpret_cast<int64_t*>(kernel_pointer(*groups));
    int64_t count = 0;
    {
        Unlocked unlocked(in.numel > kUnlockAbove);
        if (d.order && !d.sorted) sort_row_order(in.dtype, d);
        count = group_rows(in.dtype, d);
    }
    Dims sizes = in.sizes;
    sizes[0] = count;
    TensorRef values = empty(sizes, in.dtype), counts = empty({want_counts ? count : 0}, DType::Int64);
    const size_t row_bytes = size_t(width) * itemsize(in.dtype);
    char* to = kernel_pointer(*values);
    int64_t* lengths = want_counts ? reinterpret_cast<int64_t*>(kernel_pointer(*counts)) : nullptr;
    for (int64_t g = 0; g < count; ++g) {
        const int64_t row = d.order && !d.sorted ? d.order[d.starts[g]] : d.starts[g];
        if (row_bytes)
            std::memcpy(to + g * row_bytes, static_cast<const char*>(d.data) + row * row_bytes, row_bytes);
        if (lengths) lengths[g] = (g + 1 < count ? d.starts[g + 1] : n) - d.starts[g];
    }
    return deliver_all(call, {values, inverse, counts});
}

// ---- searches ----------------------------------------------------------------------------------------------------------------

TensorRef search_operand(Call& call, int i, const Tensor& sequence) {
    if (call.is_tensor(i)) return TensorRef::borrow(&call.tensor(i));
    Promotion promotion;
    promotion.tensor(sequence);
    const Scalar value = call.scalar(i);
    promotion.scalar(value);
    return scalar_tensor(value, promotion.result(), sequence.device);
}

PyObject* search(Call& call, Tensor& sequence, Tensor& values, bool out_int32, bool right, Tensor* sorter) {
    Promotion promotion;
    promotion.dtype(sequence.dtype);
    promotion.dtype(values.dtype);
    const DType dtype = promotion.result();
    if (is_complex(dtype) || dtype == DType::Bool) not_implemented("searchsorted_out_cpu", dtype);
    const DType result_dtype = out_int32 ? DType::Int32 : DType::Int64;
    const int64_t n = sequence.size(sequence.ndim() - 1 < 0 ? 0 : sequence.ndim() - 1);
    check(!out_int32 || n < INT32_MAX,
          "torch.searchsorted(): the size of boundaries' last dimension should be less than 2147483647, but "
          "we got ",
          n);
    TensorRef found = empty(values.sizes, DType::Int64, values.device);
    if (!values.is_meta() && values.numel) {
        check(!sequence.is_meta(),
              "torch.searchsorted(): the boundaries are on the meta device, the values are not");
        TensorRef s = cast(sequence, dtype), v = cast(values, dtype), order;
        s = contiguous(*s);
        v = contiguous(*v);
        SearchDesc d{kernel_pointer(*s), nullptr, kernel_pointer(*v), nullptr, n, values.numel, 1, right};
        d.sequence_rows = sequence.ndim() > 1 && n ? sequence.numel / n : 1;
        d.out = reinterpret_cast<int64_t*>(kernel_pointer(*found));
        if (sorter) {
            order = private_copy(*sorter, DType::Int64);
            d.order = reinterpret_cast<const int64_t*>(kernel_pointer(*order));
            for (int64_t i = 0; i < order->numel; ++i)
                check(d.order[i] >= 0 && d.order[i] < n, "torch.searchsorted(): sorter index out of range");
        }
        Unlocked unlocked(values.numel > kUnlockAbove);
        search_sorted(dtype, d);
    }
    return deliver(call, cast(*found, result_dtype));
}

void check_index_out(Call& call, bool out_int32) {
    Tensor* out = call.out();
    check(!out || out->dtype == (out_int32 ? DType::Int32 : DType::Int64),
          "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) "
          "depending on "
          "whether out_int32 flag is True, but we got output tensor's dtype ",
          out ? info(out->dtype).class_name : "", " and out_int32 flag is ", out_int32 ? "True" : "False");
}

// (sorted_sequence, input, *, out_int32, right, side, sorter, out)
PyObject* searchsorted(Call& call) {
    Tensor& sequence = call.tensor(0);
    const bool out_int32 = call.boolean(2);
    bool right = call.boolean(3);
    if (!call.none(4)) {
        const std::string side = call.str(4);
        check(side == "left" || side == "right",
              "torch.searchsorted(): side can only be 'left' or 'right' but got ", side);
        check(!right || side == "right",
              "torch.searchsorted(): side and right can't be set to opposites, got side of ", side,
              " while right was True");
        right = side == "right";
    }
    TensorRef values = search_operand(call, 1, sequence);
    check(sequence.device == values->device || values->ndim() == 0,
          "torch.searchsorted(): boundaries and input value tensors should have same device type");
    Tensor* sorter = call.tensor_or_null(5);
    if (sorter) {
        check(sorter->sizes == sequence.sizes,
              "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor ",
              str(sequence.sizes), "and got sorter tensor ", str(sorter->sizes));
        check(sorter->dtype == DType::Int64,
              "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype ",
              info(sorter->dtype).class_name);
    }
    check(values->ndim() > 0 || sequence.ndim() == 1,
          "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but "
          "we got "
          "boundaries tensor dim(",
          sequence.ndim(), ") and input value's dim(", values->ndim(), ") numel(", values->numel, ")");
    check(sequence.ndim() > 0,
          "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension");
    bool match = sequence.ndim() == 1 || sequence.ndim() == values->ndim();
    for (int i = 0; match && sequence.ndim() > 1 && i + 1 < sequence.ndim(); ++i)
        match = sequence.sizes[i] == values->sizes[i];
    check(match,
          "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
          "boundaries "
          "tensor and input value tensor must match, but we got boundaries tensor ",
          str(sequence.sizes), " and input value tensor ", str(values->sizes));
    check_index_out(call, out_int32);
    return search(call, sequence, *values, out_int32, right, sorter);
}

// (input, boundaries, *, out_int32, right, out)
PyObject* bucketize(Call& call) {
    Tensor& boundaries = call.tensor(1);
    check(boundaries.ndim() == 1, "boundaries tensor must be 1 dimension, but got dim(", boundaries.ndim(),
          ")");
    const bool out_int32 = call.boolean(2);
    check_index_out(call, out_int32);
    TensorRef values = search_operand(call, 0, boundaries);
    return search(call, boundaries, *values, out_int32, call.boolean(3), nullptr);
}

// ---- counting ----------------------------------------------------------------------------------------------------------------

// (input, weights, minlength)
PyObject* bincount(Call& call) {
    Tensor& in = call.tensor(0);
    Tensor* weights = call.tensor_or_null(1);
    const int64_t minlength = call.integer(2);
    if (!is_integral(in.dtype)) not_implemented("bincount_cpu", in.dtype);
    check(minlength >= 0, "minlength should be >= 0");
    check(in.ndim() == 1, "bincount only supports 1-d non-negative integral inputs.");
    check(!weights || (weights->ndim() == 1 && weights->numel == in.numel),
          "weights should be 1-d and have the same length as input");
    call.check(!in.is_meta(), "the size of the result depends on the values, which a meta tensor has not");
    TensorRef wide = private_copy(in, DType::Int64);
    const int64_t* bins = reinterpret_cast<const int64_t*>(kernel_pointer(*wide));
    int64_t largest = -1;
    for (int64_t i = 0; i < in.numel; ++i) {
        check(bins[i] >= 0, "bincount only supports 1-d non-negative integral inputs.");
        if (bins[i] > largest) largest = bins[i];
    }
    check(largest < INT64_MAX, "bincount(): the largest value ", largest, " leaves no room for its bin");
    const Dims sizes{largest + 1 > minlength ? largest + 1 : minlength};
    if (!weights || in.numel == 0) {
        TensorRef counts = empty(sizes, DType::Int64);
        fill(*counts, Scalar(0));
        int64_t* to = reinterpret_cast<int64_t*>(kernel_pointer(*counts));
        for (int64_t i = 0; i < wide->numel; ++i) ++to[bins[i]];
        return deliver(call, counts);
    }
    const DType dtype = weights->dtype == DType::Float32 ? DType::Float32 : DType::Float64;
    TensorRef sums = empty(sizes, dtype), w = cast(*weights, dtype);
    w = contiguous(*w);
    fill(*sums, Scalar(0));
    const auto add = [&](auto tag) {
        using T = decltype(tag);
        T* to = reinterpret_cast<T*>(kernel_pointer(*sums));
        const T* from = reinterpret_cast<const T*>(kernel_pointer(*w));
        for (int64_t i = 0; i < wide->numel; ++i) to[bins[i]] += from[i];
    };
    dtype == DType::Float32 ? add(float()) : add(double());
    return deliver(call, sums);
}

// (input, bins, min, max, *, out)
PyObject* histc(Call& call) {
    Tensor& in = call.tensor(0);
    const int64_t bins = call.integer(1);
    double low = call.scalar(2).to_double(), high = call.scalar(3).to_double();
    if (!is_floating(in.dtype)) not_implemented("histogram_cpu", in.dtype);
    check(bins > 0, "torch.histogram(): bins must be > 0, but got ", bins, " for dimension 0");
    TensorRef counts = empty({bins}, in.dtype, in.device);
    if (in.is_meta()) return deliver(call, counts);
    TensorRef wide = cast(in, DType::Float64);
    wide = contiguous(*wide);
    const double* x = reinterpret_cast<const double*>(kernel_pointer(*wide));
    if (low == high && in.numel) {
        low = high = x[0];
        for (int64_t i = 0; i < in.numel; ++i) {
            low = x[i] < low || std::isnan(x[i]) ? x[i] : low;
            high = x[i] > high || std::isnan(x[i]) ? x[i] : high;
        }
    }
    if (low == high) low -= 1, high += 1;
    check(std::isfinite(low) && std::isfinite(high), "torch.histc: range of [", low, ", ", high,
          "] is not finite");
    check(low < high, "torch.histc: max must be larger than min");
    TensorRef exact = empty({bins}, DType::Float64);
    fill(*exact, Scalar(0));
    double* to = reinterpret_cast<double*>(kernel_pointer(*exact));
    for (int64_t i = 0; i < in.numel; ++i) {
        if (!(x[i] >= low && x[i] <= high)) continue;
        // Halves, because high - low may overflow; a position that is nan or beyond falls into the last bin.
        const double at = (x[i] / 2 - low / 2) / (high / 2 - low / 2) * double(bins);
        to[at >= 0 && at < double(bins) ? int64_t(at) : bins - 1] += 1;
    }
    return deliver(call, cast(*exact, in.dtype));
}

FLB_OPS({"sort", sort}, {"argsort", argsort}, {"topk", topk}, {"kthvalue", kthvalue},
        {"median_dim", median<false>}, {"nanmedian_dim", median<true>}, {"median", median_all<false>},
        {"nanmedian", median_all<true>}, {"mode", mode}, {"_unique_rows", unique},
        {"searchsorted", searchsorted}, {"bucketize", bucketize}, {"bincount", bincount}, {"histc", histc});

}  // namespace
}  // namespace flb
