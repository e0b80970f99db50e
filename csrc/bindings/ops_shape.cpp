// Operators that rearrange elements into new memory: joining, repeating, flipping, padding, triangles.
#include <cstring>

#include "bindings/factory.h"
#include "core/interpreter.h"
#include "core/parallel.h"
#include "kernels/iterator.h"
#include "kernels/pointwise.h"
#include "kernels/promotion.h"

namespace flb {

namespace {

constexpr int64_t kGrain = 32768;

// A window of `t` for native use only: no autograd view, strides may not be negative.
TensorRef window(Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset) {
    TensorRef w = shallow_copy(t);
    set_window(*w, sizes, strides, offset);
    return w;
}
TensorRef narrowed(Tensor& t, int dim, int64_t start, int64_t length) {
    Dims sizes = t.sizes;
    sizes[dim] = length;
    return window(t, sizes, t.strides, t.numel && length ? t.offset + start * t.strides[dim] : t.offset);
}

// ---- joining ----------------------------------------------------------------------------------------------

// PyTorch's old leniency: an empty vector joins anything.
bool skipped(const Tensor& t) { return t.ndim() == 1 && t.numel == 0; }

// PyTorch's joining operators raise TypeError for an out= that can't hold the result.
void check_out_holds(const Call& call, DType result) {
    const Tensor* out = call.out();
    if (out && !can_cast(result, out->dtype))
        call.fail(ErrorKind::Type, "input types can't be cast to the desired output type ",
                  info(out->dtype).class_name, " (the result's type is ", info(result).class_name, ")");
}

// Memory that went away under a tensor is found before `out` is resized or written, not halfway.
void check_readable(const Call& call, const std::vector<Tensor*>& tensors) {
    if (!call.out()) return;
    for (const Tensor* t : tensors)
        if (t->numel && !t->is_meta()) kernel_pointer(*t);
}

// No input may lie in the memory of `out` of this shape: found before `out` is resized or written.
void check_apart(const Call& call, const std::vector<Tensor*>& tensors, const Dims& shape) {
    if (!call.out()) return;
    const Tensor& destination = *call.out();
    // An empty destination overlaps nothing until it grows.
    const bool grows = destination.sizes != shape;
    for (const Tensor* t : tensors) {
        check_no_overlap(destination, *t, call.name());
        call.check(!grows || (t != &destination && (t->numel == 0 || t->storage != destination.storage)),
                   "unsupported operation: some elements of the input tensor and the written-to tensor "
                   "refer to a "
                   "single memory location. Please clone() the tensor before performing the operation.");
    }
}

PyObject* cat(Call& call) {  // tensors, dim, out
    const std::vector<Tensor*> tensors = call.tensors(0);
    check_as(ErrorKind::Value, !tensors.empty(), "torch.cat(): expected a non-empty list of Tensors");
    const Tensor* like = nullptr;
    Promotion promotion;
    MemoryFormat format = suggested_format(*tensors[0]);
    for (size_t i = 0; i < tensors.size(); ++i) {
        Tensor* t = tensors[i];
        call.check(t, "expected Tensor as element ", i, " in argument 0, but got NoneType");
        call.check(t->ndim() > 0, "zero-dimensional tensor (at position ", i, ") cannot be concatenated");
        promotion.dtype(t->dtype);
        if (suggested_format(*t) != format) format = MemoryFormat::Contiguous;
        if (!like && !skipped(*t)) like = t;
    }
    if (!like) like = tensors[0];
    const int dim = wrap_dim(call.integer(1), like->ndim());
    Dims shape = like->sizes;
    int64_t total = 0;
    DeviceType device = DeviceType::Cpu;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const Tensor& t = *tensors[i];
        if (t.is_meta()) device = DeviceType::Meta;
        if (skipped(t) && like->ndim() != 1) continue;
        call.check(t.ndim() == like->ndim(), "Tensors must have same number of dimensions: got ",
                   like->ndim(), " and ", t.ndim());
        for (int d = 0; d < t.ndim(); ++d)
            call.check(d == dim || t.sizes[d] == shape[d], "Sizes of tensors must match except in dimension ",
                       dim, ". Expected size ", shape[d], " but got size ", t.sizes[d], " for tensor number ",
                       i, " in the list.");
        call.check(!__builtin_add_overflow(total, t.sizes[dim], &total), "the joined size overflows");
    }
    shape[dim] = total;
    const DType dtype = promotion.result();
    TensorRef out;
    if (call.out()) {
        check_out_holds(call, dtype);
        check_readable(call, tensors);
        check_apart(call, tensors, shape);
        out = output(call, shape, dtype, device);
    } else {
        const int n = shape.size();
        const bool fits = (format == MemoryFormat::ChannelsLast && n == 4) ||
                          (format == MemoryFormat::ChannelsLast3d && n == 5);
        out = empty_format(shape, dtype, device, fits ? format : MemoryFormat::Contiguous);
    }
    if (out->is_meta()) return out.release();
    int64_t at = 0;
    for (Tensor* t : tensors) {
        if (skipped(*t)) continue;
        const int64_t length = t->sizes[dim];
        if (t->numel) copy_into(*narrowed(*out, dim, at, length), *t);
        at += length;
    }
    return out.release();
}

PyObject* stack(Call& call) {  // tensors, dim, out
    const std::vector<Tensor*> tensors = call.tensors(0);
    call.check(!tensors.empty(), "stack expects a non-empty TensorList");
    const Dims first = tensors[0]->sizes;  // a copy: out= may be that tensor, and be resized
    const int dim = wrap_dim(call.integer(1), first.size() + 1);
    Promotion promotion;
    DeviceType device = DeviceType::Cpu;
    for (size_t i = 0; i < tensors.size(); ++i) {
        call.check(tensors[i]->sizes == first, "stack expects each tensor to be equal size, but got ",
                   str(first), " at entry 0 and ", str(tensors[i]->sizes), " at entry ", i);
        promotion.dtype(tensors[i]->dtype);
        if (tensors[i]->is_meta()) device = DeviceType::Meta;
    }
    Dims shape = first;
    shape.insert(dim, int64_t(tensors.size()));
    check_out_holds(call, promotion.result());
    check_readable(call, tensors);
    // Empty tensors may be joined into one of themselves.
    if (tensors[0]->numel) check_apart(call, tensors, shape);
    TensorRef out = output(call, shape, promotion.result(), device);
    if (out->is_meta()) return out.release();
    Dims sizes = first, strides = out->strides;
    strides.erase(dim);
    for (size_t i = 0; i < tensors.size(); ++i)
        if (tensors[i]->numel)
            copy_into(*window(*out, sizes, strides, out->offset + int64_t(i) * out->strides[dim]),
                      *tensors[i]);
    return out.release();
}

// ---- repeating --------------------------------------------------------------------------------------------

PyObject* repeat(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims repeats = call.ints(1);
    const int n = repeats.size(), shift = n - t.ndim();
    call.check(shift >= 0,
               "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
    Dims shape(n), blocks, source_sizes, source_strides, out_strides;
    for (int i = 0; i < n; ++i) {
        const int64_t size = i < shift ? 1 : t.sizes[i - shift];
        call.check(repeats[i] >= 0, "Trying to create tensor with negative dimension ", repeats[i], ": ",
                   str(repeats));
        call.check(!__builtin_mul_overflow(size, repeats[i], &shape[i]), "the repeated size overflows");
    }
    TensorRef out = empty(shape, t.dtype, t.device);
    if (out->numel == 0 || out->is_meta()) return out.release();
    // Out as (repeat, size) pairs of dimensions, the source with stride 0 along every repeat.
    for (int i = 0; i < n; ++i) {
        const int64_t size = i < shift ? 1 : t.sizes[i - shift];
        blocks.push_back(repeats[i]);
        blocks.push_back(size);
        out_strides.push_back(out->strides[i] * size);
        out_strides.push_back(out->strides[i]);
        source_strides.push_back(0);
        source_strides.push_back(i < shift ? 0 : t.strides[i - shift]);
    }
    if (blocks.size() > kMaxDims) call.fail(ErrorKind::Runtime, "too many dimensions to repeat: ", n);
    copy_into(*window(*out, blocks, out_strides, 0), *window(t, blocks, source_strides, t.offset));
    return out.release();
}

// Positions for repeat_interleave: i repeats[i] times, in order.
PyObject* repeat_interleave_index(Call& call) {  // repeats, output_size
    Tensor& repeats = call.tensor(0);
    check(repeats.ndim() <= 1, "repeat_interleave only accept 1D vector as repeat");
    check(repeats.dtype == DType::Int64 || repeats.dtype == DType::Int32,
          "repeats has to be Long or Int tensor");
    check(!repeats.is_meta(),
          "repeat_interleave(): the result's size depends on data, which a meta tensor doesn't have");
    TensorRef dense = contiguous(*cast(repeats, DType::Int64));
    const int64_t* r = dense->numel ? reinterpret_cast<const int64_t*>(kernel_pointer(*dense)) : nullptr;
    int64_t total = 0;
    for (int64_t i = 0; i < dense->numel; ++i) {
        check(r[i] >= 0, "repeats can not be negative");
        check(!__builtin_add_overflow(total, r[i], &total),
              "repeat_interleave(): the repeated size overflows");
    }
    if (!call.none(1))
        check(call.integer(1) == total,
              "repeat_interleave: allocated size does not match required size: ", call.integer(1), " and ",
              total);
    TensorRef out = empty({total}, DType::Int64);
    int64_t* o = total ? reinterpret_cast<int64_t*>(kernel_pointer(*out)) : nullptr;
    for (int64_t i = 0; i < dense->numel; ++i)
        for (int64_t k = 0; k < r[i]; ++k) *o++ = i;
    return out.release();
}

// ---- turning ------------------------------------------------------------------------------------------------------------------------

// Copies an n-dimensional block; input strides (bytes) may be negative, `in` being the first element in order.
void copy_block(int width, char* out, const char* in, Dims sizes, Dims in_strides) {
    const int n = sizes.size();
    int64_t rows = 1;
    for (int d = 0; d + 1 < n; ++d) rows *= sizes[d];
    const int64_t length = n ? sizes[n - 1] : 1, step = n ? in_strides[n - 1] : 0;
    Unlocked unlocked(rows * length > kGrain);
    parallel_for(0, rows, 1 + kGrain / (length + 1), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            int64_t rest = r;
            const char* source = in;
            for (int d = n - 2; d >= 0; --d) {
                source += rest % sizes[d] * in_strides[d];
                rest /= sizes[d];
            }
            char* target = out + r * length * width;
            if (step == width) {
                std::memcpy(target, source, size_t(length * width));
                continue;
            }
            const auto line = [&](auto zero) {
                using T = decltype(zero);
                for (int64_t i = 0; i < length; ++i)
                    reinterpret_cast<T*>(target)[i] = *reinterpret_cast<const T*>(source + i * step);
            };
            switch (width) {
                case 1: line(uint8_t()); break;
                case 2: line(uint16_t()); break;
                case 4: line(uint32_t()); break;
                case 8: line(uint64_t()); break;
                default: line(Bytes16()); break;
            }
        }
    });
}

PyObject* flip(Call& call) {
    Tensor& t = call.tensor(0);
    uint64_t turned = 0;
    for (int64_t d : call.ints(1)) {
        const int k = wrap_dim(d, t.ndim());
        call.check(!(turned >> k & 1), "dim ", k, " appears multiple times in the list of dims");
        turned |= uint64_t(1) << k;
    }
    // PyTorch moves whole rows of any dtype, and single elements of those that it computes with.
    if (is_stored_only(t.dtype) && t.ndim() && (turned >> (t.ndim() - 1) & 1))
        raise_no_kernel("flip", t.dtype);
    TensorRef out = empty(t.sizes, t.dtype, t.device);
    if (out->is_meta() || out->numel == 0) return out.release();
    const int width = itemsize(t.dtype);
    const char* in = kernel_pointer(t);
    Dims strides(t.ndim());
    for (int d = 0; d < t.ndim(); ++d) {
        strides[d] = t.sizes[d] > 1 ? t.strides[d] * width : 0;
        if (turned >> d & 1) {
            in += (t.sizes[d] - 1) * strides[d];
            strides[d] = -strides[d];
        }
    }
    copy_block(width, kernel_pointer(*out), in, t.sizes, strides);
    return out.release();
}

PyObject* roll(Call& call) {  // input, shifts, dims
    Tensor& t = call.tensor(0);
    const Dims shifts = call.ints(1), dims = call.none(2) ? Dims() : call.ints(2);
    call.check(shifts.size() > 0, "`shifts` required");
    if (dims.empty()) {
        call.check(shifts.size() == 1, "shifts and dimensions must align. shifts: ", shifts.size(),
                   ", dims:0");
        // Of the flattened tensor.
        TensorRef flat = clone(t, MemoryFormat::Contiguous);
        TensorRef out = empty(t.sizes, t.dtype, t.device);
        if (t.is_meta() || t.numel == 0) return out.release();
        const int64_t n = t.numel, width = itemsize(t.dtype), k = ((shifts[0] % n) + n) % n;
        char* o = kernel_pointer(*out);
        const char* in = kernel_pointer(*flat);
        std::memcpy(o + k * width, in, size_t((n - k) * width));
        std::memcpy(o, in + (n - k) * width, size_t(k * width));
        return out.release();
    }
    call.check(shifts.size() == dims.size(), "shifts and dimensions must align. shifts: ", shifts.size(),
               ", dims:", dims.size());
    if (!t.ndim())
        fail(ErrorKind::Index, "roll(): Dimension specified as ", dims[0], " but tensor has no dimensions");
    TensorRef current = TensorRef::borrow(&t);
    for (int i = 0; i < dims.size(); ++i) {
        const int dim = wrap_dim(dims[i], t.ndim());
        TensorRef next = empty(t.sizes, t.dtype, t.device);
        const int64_t n = t.size(dim);
        if (!t.is_meta() && t.numel && t.ndim()) {
            const int64_t k = ((shifts[i] % n) + n) % n;
            copy_into(*narrowed(*next, dim, k, n - k), *narrowed(*current, dim, 0, n - k));
            if (k) copy_into(*narrowed(*next, dim, 0, k), *narrowed(*current, dim, n - k, k));
        } else if (!t.is_meta() && t.numel) {
            copy_into(*next, *current);
        }
        current = next;
    }
    return current.release();
}

// ---- padding and triangles --------------------------------------------------------------------------------------------------------------------------

PyObject* constant_pad_nd(Call& call) {  // input, pad (last dimension first), value
    Tensor& t = call.tensor(0);
    const Dims pad = call.ints(1);
    call.check(pad.size() % 2 == 0, "Length of pad must be even but instead it equals ", pad.size());
    call.check(
        pad.size() <= 2 * t.ndim(),
        "Length of pad should be no more than twice the number of dimensions of the input. Pad length is ",
        pad.size(), " while the input has ", t.ndim(), " dimensions.");
    const Scalar value = call.scalar(2);
    if (is_stored_only(t.dtype)) check_fits(value, t.dtype);
    Dims shape = t.sizes;
    for (int i = 0; i < pad.size() / 2; ++i) {
        const int d = t.ndim() - 1 - i;
        int64_t size;
        call.check(pad[2 * i] > INT64_MIN && pad[2 * i + 1] > INT64_MIN, "the padding ", str(pad),
                   " is out of range");
        call.check(!__builtin_add_overflow(t.sizes[d], pad[2 * i], &size) &&
                       !__builtin_add_overflow(size, pad[2 * i + 1], &size),
                   "the padded size overflows");
        const int64_t cropped = -(std::min<int64_t>(pad[2 * i], 0) + std::min<int64_t>(pad[2 * i + 1], 0));
        call.check(size >= 0 && cropped <= t.sizes[d], "The input size ", t.sizes[d],
                   ", plus negative padding ", pad[2 * i], " and ", pad[2 * i + 1],
                   " resulted in a negative output size, which is invalid. Check dimension ", d,
                   " of your input.");
        shape[d] = size;
    }
    MemoryFormat format = suggested_format(t);
    if (format == MemoryFormat::ChannelsLast3d && shape.size() != 5) format = MemoryFormat::Contiguous;
    if (t.numel && !t.is_meta()) kernel_pointer(t);  // what cannot be read is refused before memory is filled
    TensorRef out = empty_format(shape, t.dtype, t.device, format);
    if (out->is_meta()) return out.release();
    fill(*out, value);
    TensorRef from = TensorRef::borrow(&t), to = out;
    for (int i = 0; i < pad.size() / 2; ++i) {
        const int d = t.ndim() - 1 - i;
        const int64_t before = pad[2 * i], after = pad[2 * i + 1];
        // The part of the source that stays, and where it goes.
        const int64_t start = before < 0 ? -before : 0, stop = t.sizes[d] + (after < 0 ? after : 0);
        if (stop <= start) return out.release();
        from = narrowed(*from, d, start, stop - start);
        to = narrowed(*to, d, before > 0 ? before : 0, stop - start);
    }
    copy_into(*to, *from);
    return out.release();
}

template <bool upper>
PyObject* triangle(Call& call) {  // input, diagonal, out
    Tensor& t = call.tensor(0);
    call.check(t.ndim() >= 2, "input tensor must have at least 2 dimensions");
    const int64_t k = call.integer(1);
    const int n = t.ndim();
    const int64_t rows = t.sizes[n - 2], cols = t.sizes[n - 1];
    TensorRef result = clone(t, MemoryFormat::Contiguous);
    if (!t.is_meta() && t.numel) {
        const int64_t width = itemsize(t.dtype), batch = t.numel / (rows * cols);
        char* o = kernel_pointer(*result);
        Unlocked unlocked(t.numel > kGrain);
        parallel_for(0, batch * rows, 1 + kGrain / cols, [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; ++r) {
                // Column of the diagonal in this row, within [0, cols].
                const int64_t i = r % rows;
                const int64_t low = k > cols ? cols : k < -rows ? -rows : k;
                int64_t at = i + low + (upper ? 0 : 1);
                at = at < 0 ? 0 : at > cols ? cols : at;
                char* row = o + r * cols * width;
                if (upper) std::memset(row, 0, size_t(at * width));
                else std::memset(row + at * width, 0, size_t((cols - at) * width));
            }
        });
    }
    return deliver(call, result);
}

// ---- view as another dtype ---------------------------------------------------------------------------------------------------------------------------

PyObject* view_dtype(Call& call) {
    Tensor& t = call.tensor(0);
    const DType dtype = call.dtype(1);
    const int64_t from = itemsize(t.dtype), to = itemsize(dtype);
    Dims sizes = t.sizes, strides = t.strides;
    int64_t offset = t.offset;
    if (from != to) {
        const int last = t.ndim() - 1;
        check(t.ndim() > 0, "self.dim() cannot be 0 to view ", info(t.dtype).class_name, " as ",
              info(dtype).class_name, " (different element sizes)");
        check(t.strides[last] == 1 || t.numel == 0 || (from > to && t.sizes[last] == 1),
              "self.stride(-1) must be 1 to view ", info(t.dtype).class_name, " as ", info(dtype).class_name,
              " (different element sizes), but got ", t.strides[last]);
        if (from > to) {
            const int64_t ratio = from / to;
            // Nothing bounds the strides of what has one element, or none.
            for (int d = 0; d < last; ++d) strides[d] = wrapping_mul(strides[d], ratio);
            strides[last] = 1;
            check(!__builtin_mul_overflow(sizes[last], ratio, &sizes[last]) &&
                      !__builtin_mul_overflow(offset, ratio, &offset),
                  "a view as ", info(dtype).class_name, " has too many elements");
        } else {
            const int64_t ratio = to / from;
            check(t.sizes[last] % ratio == 0, "self.size(-1) must be divisible by ", ratio, " to view ",
                  info(t.dtype).class_name, " as ", info(dtype).class_name,
                  " (different element sizes), but got ", t.sizes[last]);
            check(t.offset % ratio == 0, "self.storage_offset() must be divisible by ", ratio, " to view ",
                  info(t.dtype).class_name, " as ", info(dtype).class_name,
                  " (different element sizes), but got ", t.offset);
            for (int d = 0; d < last; ++d) {
                check(t.strides[d] % ratio == 0, "self.stride(", d, ") must be divisible by ", ratio,
                      " to view ", info(t.dtype).class_name, " as ", info(dtype).class_name,
                      " (different element sizes), but got ", t.strides[d]);
                strides[d] /= ratio;
            }
            sizes[last] /= ratio;
            offset /= ratio;
        }
    }
    return make_view_dtype(t, sizes, strides, offset, dtype).release();
}

}  // namespace

FLB_OPS({"cat", cat}, {"stack", stack}, {"repeat", repeat},
        {"_repeat_interleave_index", repeat_interleave_index}, {"flip", flip}, {"roll", roll},
        {"constant_pad_nd", constant_pad_nd}, {"tril", triangle<false>}, {"triu", triangle<true>},
        {"view.dtype", view_dtype});

}  // namespace flb
