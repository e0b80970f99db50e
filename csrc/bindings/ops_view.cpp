// Operators that return another window on the same storage.
#include "bindings/op.h"

namespace flb {

namespace {

// Drops, adds or reorders dimensions of a window.
struct Window {
    explicit Window(Tensor& t) : sizes(t.sizes), strides(t.strides), offset(t.offset) {}
    Dims sizes, strides;
    int64_t offset;
    PyObject* view(Tensor& of) { return make_view(of, sizes, strides, offset).release(); }
};

PyObject* as_strided(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims sizes = call.ints(1), strides = call.ints(2);
    for (int64_t s : strides)
        call.check(s >= 0, "Negative strides are not supported at the moment, got strides: ", str(strides));
    return make_view(t, sizes, strides, call.none(3) ? t.offset : call.integer(3)).release();
}

PyObject* view(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims shape = infer_size(call.ints(1), t.numel);
    Dims strides;
    check(view_strides(t, shape, &strides),
          "view size is not compatible with input tensor's size and stride (at least one "
          "dimension spans across two contiguous subspaces). Use .reshape(...) instead. (view(): shape ",
          str(t.sizes), ", strides ", str(t.strides), " as ", str(shape), ")");
    return make_view(t, shape, strides, t.offset).release();
}

PyObject* reshape(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims shape = infer_size(call.ints(1), t.numel);
    Dims strides;
    if (view_strides(t, shape, &strides)) return make_view(t, shape, strides, t.offset).release();
    TensorRef copy = clone(t, MemoryFormat::Contiguous);
    set_window(*copy, shape, contiguous_strides(shape), 0);
    return copy.release();
}

PyObject* permute(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims dims = call.ints(1);
    const int n = t.ndim();
    call.check(dims.size() == n,
               "number of dimensions in the tensor input does not match the length of the desired ordering "
               "of dimensions i.e. input.dim() = ",
               n, " is not equal to len(dims) = ", dims.size());
    Window w(t);
    uint64_t seen = 0;
    for (int i = 0; i < n; ++i) {
        const int d = wrap_dim(dims[i], n);
        call.check(!(seen >> d & 1), "duplicate dims are not allowed.");
        seen |= uint64_t(1) << d;
        w.sizes[i] = t.sizes[d];
        w.strides[i] = t.strides[d];
    }
    return w.view(t);
}

PyObject* transpose(Call& call) {
    Tensor& t = call.tensor(0);
    const int a = wrap_dim(call.integer(1), t.ndim()), b = wrap_dim(call.integer(2), t.ndim());
    Window w(t);
    if (t.ndim()) {
        std::swap(w.sizes[a], w.sizes[b]);
        std::swap(w.strides[a], w.strides[b]);
    }
    return w.view(t);
}

PyObject* t_(Call& call) {
    Tensor& t = call.tensor(0);
    check(t.ndim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", t.ndim(), "D");
    Window w(t);
    if (t.ndim() == 2) {
        std::swap(w.sizes[0], w.sizes[1]);
        std::swap(w.strides[0], w.strides[1]);
    }
    return w.view(t);
}

PyObject* expand(Call& call) { return expand_view(call.tensor(0), call.ints(1)).release(); }

PyObject* select(Call& call) {
    Tensor& t = call.tensor(0);
    if (t.ndim() == 0) fail(ErrorKind::Index, "select() cannot be applied to a 0-dim tensor.");
    const int dim = wrap_dim(call.integer(1), t.ndim());
    const int64_t size = t.sizes[dim];
    int64_t index = call.integer(2);
    if (index < -size || index >= size)
        fail(ErrorKind::Index, "select(): index ", index, " out of range for tensor of size ", str(t.sizes),
             " at dimension ", dim);
    if (index < 0) index += size;
    Window w(t);
    if (t.numel) w.offset += index * t.strides[dim];
    w.sizes.erase(dim);
    w.strides.erase(dim);
    return w.view(t);
}

PyObject* slice(Call& call) {
    Tensor& t = call.tensor(0);
    call.check(t.ndim() > 0, "slice() cannot be applied to a 0-dim tensor.");
    const int dim = wrap_dim(call.integer(1), t.ndim());
    const int64_t size = t.sizes[dim], step = call.integer(4);
    call.check(step > 0, "slice step must be positive, got ", step);
    const auto clamp = [&](int64_t v) { return v < 0 ? (v + size < 0 ? 0 : v + size) : v > size ? size : v; };
    const int64_t start = call.none(2) ? 0 : clamp(call.integer(2));
    int64_t end = call.none(3) ? size : clamp(call.integer(3));
    if (end < start) end = start;
    Window w(t);
    w.offset = wrapping_add(w.offset, wrapping_mul(start, t.strides[dim]));
    w.sizes[dim] = end > start ? 1 + (end - start - 1) / step : 0;
    // A step beyond the dimension leaves one element, whose stride does not matter.
    if (__builtin_mul_overflow(t.strides[dim], step, &w.strides[dim])) w.strides[dim] = t.strides[dim];
    if (t.numel == 0 || (w.sizes[dim] == 0 && start == size)) w.offset = t.offset;
    return w.view(t);
}

PyObject* narrow(Call& call) {
    Tensor& t = call.tensor(0);
    call.check(t.ndim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
    const int dim = wrap_dim(call.integer(1), t.ndim());
    const int64_t size = t.sizes[dim], length = call.integer(3);
    int64_t start = call.integer(2);
    call.check(length >= 0, "narrow(): length must be non-negative.");
    if (start < -size || start > size)
        fail(ErrorKind::Index, "start out of range (expected to be in range of [", -size, ", ", size,
             "], but got ", start, ")");
    if (start < 0) start += size;
    call.check(start <= size - length, "start (", start, ") + length (", length, ") exceeds dimension size (",
               size, ").");
    Window w(t);
    w.offset += length && t.numel ? start * t.strides[dim] : 0;
    w.sizes[dim] = length;
    return w.view(t);
}

// A start that `narrow` took for a number never comes here.
PyObject* narrow_tensor(Call& call) {
    const Tensor& start = call.tensor(2);
    check(start.ndim() == 0 && is_integral(start.dtype, false), "start must be an 0-dim integral Tensor.");
    return narrow(call);
}

PyObject* unsqueeze(Call& call) {
    Tensor& t = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), t.ndim() + 1);
    Window w(t);
    w.strides.insert(dim, dim < t.ndim() ? wrapping_mul(t.sizes[dim], t.strides[dim]) : 1);
    w.sizes.insert(dim, 1);
    return w.view(t);
}

// No dim: all of size one; an int or ints: those, where they have size one.
PyObject* squeeze(Call& call) {
    Tensor& t = call.tensor(0);
    uint64_t drop = call.none(1) ? ~uint64_t(0) : 0;
    if (!call.none(1))
        for (int64_t d : call.ints(1)) {
            const int k = wrap_dim(d, t.ndim());
            call.check(!(drop >> k & 1), "dim ", k, " appears multiple times in the list of dims");
            drop |= uint64_t(1) << k;
        }
    Window w(t);
    for (int i = t.ndim() - 1; i >= 0; --i)
        if (t.sizes[i] == 1 && (drop >> i & 1)) {
            w.sizes.erase(i);
            w.strides.erase(i);
        }
    return w.view(t);
}

PyObject* unfold(Call& call) {
    Tensor& t = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), t.ndim());
    const int64_t length = t.size(dim), size = call.integer(2), step = call.integer(3);
    call.check(size >= 0, "size is ", size, " but must be >= 0");
    call.check(size <= length, "maximum size for tensor at dimension ", dim, " is ", length, " but size is ",
               size);
    call.check(step > 0, "step is ", step, " but must be > 0");
    Window w(t);
    const int64_t stride = t.stride(dim);
    if (t.ndim()) {
        w.sizes[dim] = (length - size) / step + 1;
        // A step beyond the dimension leaves one window, whose stride does not matter.
        if (__builtin_mul_overflow(step, stride, &w.strides[dim])) w.strides[dim] = stride;
    }
    w.sizes.push_back(size);
    w.strides.push_back(stride);
    return w.view(t);
}

PyObject* diagonal(Call& call) {
    Tensor& t = call.tensor(0);
    const int64_t offset = call.integer(1);
    const int a = wrap_dim(call.integer(2), t.ndim()), b = wrap_dim(call.integer(3), t.ndim());
    call.check(a != b, "diagonal dimensions cannot be identical ", a, ", ", b);
    call.check(t.ndim() >= 2, "a diagonal needs at least two dimensions, got shape ", str(t.sizes));
    const int64_t rows = t.sizes[a], cols = t.sizes[b];
    // In unsigned arithmetic, so that extreme offsets cannot overflow.
    const int64_t length = offset >= 0 ? (offset >= cols ? 0 : std::min(rows, cols - offset))
                                       : (offset <= -rows ? 0 : std::min(rows + offset, cols));
    Window w(t);
    if (length && t.numel) w.offset += offset >= 0 ? offset * t.strides[b] : -offset * t.strides[a];
    w.sizes.erase(a > b ? a : b);
    w.sizes.erase(a > b ? b : a);
    w.strides.erase(a > b ? a : b);
    w.strides.erase(a > b ? b : a);
    w.sizes.push_back(length);
    w.strides.push_back(wrapping_add(t.strides[a], t.strides[b]));
    return w.view(t);
}

PyObject* alias(Call& call) {
    Tensor& t = call.tensor(0);
    return make_view(t, t.sizes, t.strides, t.offset).release();
}

PyObject* detach(Call& call) { return shallow_copy(call.tensor(0)).release(); }

// ---- the tensor itself becomes another window --------------------------------------------------------------------------------------

PyObject* become(Tensor& t, const Window& w) {
    set_window(t, w.sizes, w.strides, w.offset);
    return Py_NewRef(t.object());
}

PyObject* as_strided_inplace(Call& call) {
    Tensor& t = call.tensor(0);
    Window w(t);
    w.sizes = call.ints(1);
    w.strides = call.ints(2);
    if (!call.none(3)) w.offset = call.integer(3);
    return become(t, w);
}

PyObject* transpose_inplace(Call& call) {
    Tensor& t = call.tensor(0);
    const int a = wrap_dim(call.integer(1), t.ndim()), b = wrap_dim(call.integer(2), t.ndim());
    Window w(t);
    if (t.ndim()) {
        std::swap(w.sizes[a], w.sizes[b]);
        std::swap(w.strides[a], w.strides[b]);
    }
    return become(t, w);
}

PyObject* unsqueeze_inplace(Call& call) {
    Tensor& t = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), t.ndim() + 1);
    Window w(t);
    w.strides.insert(dim, dim < t.ndim() ? wrapping_mul(t.sizes[dim], t.strides[dim]) : 1);
    w.sizes.insert(dim, 1);
    return become(t, w);
}

// ---- several views at once -------------------------------------------------------------------------------------------------

PyObject* as_tuple(std::vector<TensorRef>& parts) {
    PyObject* out = checked_object(PyTuple_New(Py_ssize_t(parts.size())));
    for (size_t i = 0; i < parts.size(); ++i) {
        parts[i]->view_kind = ViewKind::MultiOutput;
        PyTuple_SET_ITEM(out, Py_ssize_t(i), parts[i].release());
    }
    return out;
}

// So many tensors fit in no memory: a tensor takes some hundred bytes.
constexpr int64_t kMaxParts = int64_t(1) << 31;

PyObject* unbind(Call& call) {
    Tensor& t = call.tensor(0);
    if (t.ndim() == 0)
        fail(ErrorKind::Index, "Dimension specified as ", call.integer(1), " but tensor has no dimensions");
    const int dim = wrap_dim(call.integer(1), t.ndim());
    call.check(t.sizes[dim] < kMaxParts, "dimension ", dim, " of size ", t.sizes[dim],
               " is too long to be taken apart");
    std::vector<TensorRef> parts;
    Window w(t);
    w.sizes.erase(dim);
    w.strides.erase(dim);
    for (int64_t i = 0; i < t.sizes[dim]; ++i)
        parts.push_back(make_view(t, w.sizes, w.strides, t.numel ? t.offset + i * t.strides[dim] : t.offset));
    return as_tuple(parts);
}

std::vector<TensorRef> split_parts(Call& call) {
    Tensor& t = call.tensor(0);
    call.check(t.ndim() > 0, "split expects at least a 1-dimensional tensor");
    const Dims lengths = call.ints(1);
    const int dim = wrap_dim(call.integer(2), t.ndim());
    int64_t sum = 0;
    for (int64_t s : lengths) {
        check(s >= 0,
              "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=",
              str(lengths));
        check(!__builtin_add_overflow(sum, s, &sum), "split_with_sizes: sizes overflow");
    }
    check(sum == t.sizes[dim], "split_with_sizes expects split_sizes to sum exactly to ", t.sizes[dim],
          " (input tensor's size at dimension ", dim, "), but got split_sizes=", str(lengths));
    std::vector<TensorRef> parts;
    Window w(t);
    int64_t at = 0;
    for (int64_t s : lengths) {
        w.sizes[dim] = s;
        parts.push_back(
            make_view(t, w.sizes, w.strides, t.numel && s ? t.offset + at * t.strides[dim] : t.offset));
        at += s;
    }
    return parts;
}

PyObject* split_with_sizes(Call& call) {
    std::vector<TensorRef> parts = split_parts(call);
    return as_tuple(parts);
}

// The same windows, but no views: each is written without the others' or the input's knowing.
PyObject* unsafe_split_with_sizes(Call& call) {
    std::vector<TensorRef> parts = split_parts(call);
    for (TensorRef& part : parts) {
        part = shallow_copy(*part);
        if (part->own_version) release_version(part->own_version);
        part->own_version = new Version();
    }
    return as_tuple(parts);
}

}  // namespace

FLB_OPS({"as_strided", as_strided}, {"view", view}, {"reshape", reshape}, {"permute", permute},
        {"transpose", transpose}, {"t", t_}, {"expand", expand}, {"select", select}, {"slice", slice},
        {"narrow", narrow}, {"narrow.Tensor", narrow_tensor}, {"unsqueeze", unsqueeze}, {"squeeze", squeeze},
        {"unfold", unfold}, {"diagonal", diagonal}, {"alias", alias}, {"detach", detach}, {"unbind", unbind},
        {"split_with_sizes", split_with_sizes}, {"unsafe_split_with_sizes", unsafe_split_with_sizes},
        {"as_strided_", as_strided_inplace}, {"transpose_", transpose_inplace},
        {"unsqueeze_", unsqueeze_inplace});

}  // namespace flb
