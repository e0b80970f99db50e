// Reading and writing by index.
#include <cstring>

#include "bindings/op.h"
#include "kernels/index_kernels.h"
#include "kernels/iterator.h"
#include "kernels/pointwise.h"

namespace flb {

namespace {

constexpr const char* kOverlap =
    "unsupported operation: more than one element of the written-to tensor refers to a single "
    "memory location. Please clone() the tensor before performing the operation.";

std::vector<TensorRef> index_list(Call& call, int i) {
    std::vector<TensorRef> out;
    for (Tensor* t : call.tensors(i)) out.push_back(TensorRef::borrow(t));
    return out;
}

PyObject* index(Call& call) {
    Tensor& t = call.tensor(0);
    const std::vector<TensorRef> given = index_list(call, 1);
    if (given.size() == 1 && given[0] && given[0]->dtype == DType::Bool && given[0]->sizes == t.sizes &&
        t.ndim() > 0 && t.device == DeviceType::Cpu && given[0]->device == DeviceType::Cpu) {
        TensorRef full = contiguous(t), mask = contiguous(*given[0]);
        return select_true(*full, *mask).release();
    }
    const IndexPlan plan = plan_index(t, given, "index");
    TensorRef out = empty(plan.result_shape(), t.dtype, t.device);
    if (!t.is_meta()) index_get(*out, t, plan);
    return out.release();
}

PyObject* index_put_(Call& call) {
    Tensor &t = call.tensor(0), &given = call.tensor(2);
    const bool accumulate = call.boolean(3);
    call.check(!has_internal_overlap(t), kOverlap);
    call.check(given.dtype == t.dtype, "Index put requires the source and destination dtypes match, got ",
               info(t.dtype).class_name, " for the destination and ", info(given.dtype).class_name,
               " for the source.");
    const std::vector<TensorRef> where = index_list(call, 1);
    if (is_stored_only(t.dtype)) {
        // One value under one mask is PyTorch's masked_fill.
        int masks = 0, others = 0;
        for (const TensorRef& index : where)
            if (index) ++(index->dtype == DType::Bool || index->dtype == DType::UInt8 ? masks : others);
        if (masks == 1 && !others && given.numel == 1 && !accumulate) raise_no_kernel("masked_fill", t.dtype);
        if (t.dtype == DType::Float8_e8m0fnu) raise_no_kernel("index_put", t.dtype);
    }
    const IndexPlan plan = plan_index(t, where, "index_put_");
    const Dims shape = plan.result_shape();
    TensorRef values = TensorRef::borrow(&given);
    // Leading dimensions of size one may be too many, as in NumPy.
    while (values->ndim() > shape.size() && values->sizes[0] == 1) {
        Dims sizes = values->sizes, strides = values->strides;
        sizes.erase(0);
        strides.erase(0);
        values = make_view(*values, sizes, strides, values->offset);
    }
    check(broadcastable_to(values->sizes, shape), "shape mismatch: value tensor of shape ", str(given.sizes),
          " cannot be broadcast to indexing result of shape ", str(shape));
    if (t.is_meta()) return Py_NewRef(call.args[0]);
    values = expand_view(*values, shape);
    values = values->storage == t.storage ? clone(*values, MemoryFormat::Contiguous) : contiguous(*values);
    index_put(t, *values, plan, accumulate);
    return Py_NewRef(call.args[0]);
}

PyObject* nonzero_(Call& call) {
    check(!call.tensor(0).is_meta(),
          "nonzero(): the result's size depends on data, which a meta tensor doesn't have");
    return deliver(call, nonzero(call.tensor(0)));
}

// ---- along one dimension ------------------------------------------------------------------------------------------------------------------

// dim wrapped, the index checked for dtype and shape against `along` (the tensor that the index names elements of).
int check_gather(Call& call, Tensor& along, Tensor& index, Tensor* src) {
    const int dim = wrap_dim(call.integer(1), along.ndim());
    if (index.numel == 0) return dim;  // of any dtype
    call.check(index.dtype == DType::Int64 || index.dtype == DType::Int32,
               "Expected dtype int32/int64 for index");
    const auto ndim = [](const Tensor& t) { return t.ndim() ? t.ndim() : 1; };
    call.check(ndim(index) == ndim(along), "Index tensor must have the same number of dimensions as ",
               src ? "self" : "input", " tensor");
    call.check(!src || ndim(index) == ndim(*src),
               "Index tensor must have the same number of dimensions as src tensor");
    for (int d = 0; d < ndim(index); ++d) {
        call.check(d == dim || index.size(d) <= along.size(d), "Size does not match at dimension ", d,
                   " expected index ", str(index.sizes), " to be no larger than self ", str(along.sizes),
                   " apart from dimension ", dim, src ? " and to be no larger than src" : "");
        call.check(!src || index.size(d) <= src->size(d), "Size does not match at dimension ", d,
                   " expected index ", str(index.sizes), " to be no larger than src ",
                   src ? str(src->sizes) : "");
    }
    if (!index.is_meta()) check_indices(index, along.size(dim), dim, call.name(), false, ErrorKind::Runtime);
    return dim;
}

PyObject* gather_(Call& call) {
    Tensor &t = call.tensor(0), &index = call.tensor(2);
    const int dim = check_gather(call, t, index, nullptr);
    if (call.out()) {
        call.check(call.out()->dtype == t.dtype, "Expected out tensor to have dtype ",
                   info(t.dtype).class_name, ", but got ", info(call.out()->dtype).class_name);
        resize_output(*call.out(), index.sizes, call.name());  // first: it may grow into the others
        check_no_overlap(*call.out(), t, "gather");
        check_no_overlap(*call.out(), index, "gather");
    }
    TensorRef result = empty(index.sizes, t.dtype, t.device);
    if (!t.is_meta()) gather(*result, t, dim, *cast(index, DType::Int64));
    return deliver(call, result);
}

struct NamedReduce {
    const char* name;
    Reduce reduce;
    bool mean = false;
};
// The reductions that an operator knows, by their names.
const std::vector<NamedReduce> kScatterNames = {{"add", Reduce::Add}, {"multiply", Reduce::Multiply}};
const std::vector<NamedReduce> kIndexReduceNames = {
    {"prod", Reduce::Multiply}, {"mean", Reduce::Add, true}, {"amax", Reduce::Max}, {"amin", Reduce::Min}};
const std::vector<NamedReduce> kScatterReduceNames = {
    {"sum", Reduce::Add},  {"prod", Reduce::Multiply}, {"mean", Reduce::Add, true}, {"amax", Reduce::Max},
    {"amin", Reduce::Min}, {"max", Reduce::Max},       {"min", Reduce::Min}};

Reduce reduce_named(Call& call, int i, const std::vector<NamedReduce>& known, bool& mean) {
    const char* name = call.str(i);
    for (const NamedReduce& each : known)
        if (!std::strcmp(name, each.name)) {
            mean = each.mean;
            return each.reduce;
        }
    if (&known == &kScatterNames) call.check(false, "reduce argument must be either add or multiply.");
    else if (&known == &kIndexReduceNames)
        call.check(false, "Expected reduce to be one of prod, mean, amax or amin but got ", name, ".");
    call.check(false, "reduce argument must be either sum, prod, mean, amax or amin, got ", name, ".");
    return Reduce::Assign;
}

// The tensor that a scatter writes: the operand itself in place, else a copy of it.
TensorRef target_of(Call& call) {
    Tensor& t = call.tensor(0);
    if (!call.op->inplace) return clone(t, MemoryFormat::Contiguous);
    call.check(!has_internal_overlap(t), kOverlap);
    return TensorRef::borrow(&t);
}

// A source that shares memory with what is written is read whole first.
TensorRef separate(Tensor& src, const Tensor& target) {
    return src.storage == target.storage ? clone(src) : TensorRef::borrow(&src);
}

Scalar neutral(Reduce reduce, DType t) {
    const bool floating = info(t).kind >= DTypeKind::Float;
    if (reduce == Reduce::Add) return Scalar(int64_t(0));
    if (reduce == Reduce::Multiply) return Scalar(int64_t(1));
    const bool low = reduce == Reduce::Max;
    if (floating) return Scalar(low ? -__builtin_inf() : __builtin_inf());
    if (t == DType::Bool) return Scalar(!low);
    const int bits = itemsize(t) * 8 - info(t).is_signed;
    if (!info(t).is_signed)
        return low          ? Scalar(int64_t(0))
               : bits == 64 ? Scalar(~uint64_t(0))
                            : Scalar(int64_t((uint64_t(1) << bits) - 1));
    const int64_t top = int64_t((uint64_t(1) << bits) - 1);
    return low ? Scalar(-top - 1) : Scalar(top);
}

// target / max(count, 1), rounded down for integers: the last step of a mean.
void divide_by_counts(Tensor& target, Tensor& counts, bool include_self) {
    const int64_t* c = reinterpret_cast<const int64_t*>(kernel_pointer(counts));
    char* base = kernel_pointer(target);
    visit(target.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        Dims index(target.ndim(), 0);
        // counts has the target's own strides (made by empty_strided below): one position serves both.
        for (int64_t i = 0; i < target.numel; ++i) {
            int64_t at = 0;
            for (int d = 0; d < target.ndim(); ++d) at += index[d] * target.strides[d];
            const int64_t n = c[at] + (include_self ? 1 : 0);
            T* v = reinterpret_cast<T*>(base) + at;
            if (n > 1) {
                if constexpr (std::is_same_v<T, bool>) {
                } else if constexpr (std::is_same_v<T, uint64_t>) {
                    *v /= uint64_t(n);
                } else if constexpr (std::is_integral_v<T>) {
                    const int64_t x = int64_t(*v), q = x / n;  // n does not fit in every T
                    *v = T(x < 0 && q * n != x ? q - 1 : q);
                } else if constexpr (std::is_floating_point_v<T>) {
                    *v = *v / T(n);
                } else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
                    *v = T(float(*v) / float(n));
                } else if constexpr (std::is_same_v<T, Complex<Half>>) {
                    *v = T(Half(float(v->re) / float(n)), Half(float(v->im) / float(n)));
                } else {
                    v->re /= decltype(v->re)(n);
                    v->im /= decltype(v->im)(n);
                }
            }
            for (int d = target.ndim() - 1; d >= 0; --d) {
                if (++index[d] < target.sizes[d]) break;
                index[d] = 0;
            }
        }
    });
}

PyObject* scatter_any(Call& call, Tensor* src, const Scalar* value, Reduce reduce, bool mean,
                      bool include_self) {
    Tensor &t = call.tensor(0), &index = call.tensor(2);
    const int dim = check_gather(call, t, index, src);
    if (src)
        call.check(src->dtype == t.dtype, "Expected self.dtype to be equal to src.dtype, got ",
                   name_of(t.dtype), " and ", name_of(src->dtype));
    if (call.op->inplace) {
        check_no_partial_overlap(t, index, call.name());
        if (src) check_no_partial_overlap(t, *src, call.name());
    }
    TensorRef target = target_of(call);
    if (t.is_meta()) return deliver(call, target);
    TensorRef wide = cast(index, DType::Int64);
    if (wide->storage == target->storage) wide = clone(*wide);
    TensorRef counts;
    if (mean) {
        counts = empty_strided(target->sizes, target->strides, DType::Int64);
        fill(*counts, Scalar(int64_t(0)));
    }
    if (!include_self) {
        const Scalar start = neutral(reduce, t.dtype);
        scatter(*target, dim, *wide, nullptr, &start, Reduce::Assign, nullptr);
    }
    TensorRef source = src ? separate(*src, *target) : TensorRef();
    scatter(*target, dim, *wide, source.get(), value, reduce, counts.get());
    if (mean) divide_by_counts(*target, *counts, include_self);
    return deliver(call, target);
}

PyObject* scatter_src(Call& call) {
    return scatter_any(call, &call.tensor(3), nullptr, Reduce::Assign, false, true);
}
PyObject* scatter_value(Call& call) {
    const Scalar value = call.scalar(3);
    return scatter_any(call, nullptr, &value, Reduce::Assign, false, true);
}
PyObject* scatter_src_reduce(Call& call) {  // reduce="add" | "multiply"
    bool mean;
    const Reduce reduce = reduce_named(call, 4, kScatterNames, mean);
    return scatter_any(call, &call.tensor(3), nullptr, reduce, false, true);
}
PyObject* scatter_value_reduce(Call& call) {
    bool mean;
    const Reduce reduce = reduce_named(call, 4, kScatterNames, mean);
    const Scalar value = call.scalar(3);
    return scatter_any(call, nullptr, &value, reduce, false, true);
}
PyObject* scatter_add(Call& call) {
    return scatter_any(call, &call.tensor(3), nullptr, Reduce::Add, false, true);
}
PyObject* scatter_reduce(Call& call) {
    bool mean;
    const Reduce reduce = reduce_named(call, 4, kScatterReduceNames, mean);
    return scatter_any(call, &call.tensor(3), nullptr, reduce, mean, call.boolean(5));
}

// ---- whole slices -----------------------------------------------------------------------------------------------------------------------------

int check_slices(Call& call, Tensor& t, Tensor& index, ErrorKind kind, bool wrap) {
    const int dim = wrap_dim(call.integer(1), t.ndim());
    check_as(ErrorKind::Index, index.ndim() <= 1, call.name(),
             "(): Index is supposed to be a vector, got shape ", str(index.sizes));
    call.check(index.dtype == DType::Int64 || index.dtype == DType::Int32,
               "Expected dtype int32 or int64 for index, got ", name_of(index.dtype));
    if (!t.is_meta()) check_indices(index, t.size(dim), dim, call.name(), wrap, kind);
    return dim;
}

PyObject* index_select_(Call& call) {
    Tensor &t = call.tensor(0), &index = call.tensor(2);
    const int dim = check_slices(call, t, index, ErrorKind::Index, false);
    if (call.out()) {
        call.check(!has_internal_overlap(*call.out()), kOverlap);
        check_no_overlap(*call.out(), t, "index_select");
        check_no_overlap(*call.out(), index, "index_select");
        call.check(call.out()->dtype == t.dtype, "self and result must have the same scalar type");
    }
    Dims shape = t.sizes;
    if (t.ndim()) shape[dim] = index.numel;
    else
        call.check(index.numel == 1, "Index to scalar can have only 1 value, got ", index.numel, " value(s)");
    // out= overlaps neither input: dense and of the right size, it is filled in place.
    const bool in_place = !call.out() || (call.out()->sizes == shape && call.out()->contiguous);
    TensorRef out = in_place ? output(call, shape, t.dtype, t.device) : empty(shape, t.dtype, t.device);
    if (!t.is_meta()) index_select(*out, t, dim, index);
    return in_place ? out.release() : deliver(call, out);
}

PyObject* write_slices(Call& call, TensorRef source, Reduce reduce, bool mean, bool include_self) {
    Tensor &t = call.tensor(0), &index = call.tensor(2);
    const int dim = check_slices(call, t, index, ErrorKind::Index, false);
    call.check(source->dtype == t.dtype, "self (", name_of(t.dtype), ") and source (", name_of(source->dtype),
               ") must have the same scalar type");
    call.check(source->size(dim < source->ndim() ? dim : 0) == index.numel, "Number of indices (",
               index.numel, ") should be equal to source.size(dim) (",
               source->size(dim < source->ndim() ? dim : 0), ") for dim ", dim);
    if (t.ndim()) {
        call.check(source->ndim() == t.ndim() || (source->ndim() == 0 && t.ndim() == 1),
                   "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
                   "self.shape = ",
                   str(t.sizes), " source.shape = ", str(source->sizes));
        for (int d = 0; d < source->ndim(); ++d)
            call.check(d == dim || source->sizes[d] == t.sizes[d],
                       "Source/destination tensor must have same slice shapes. Destination slice shape: ",
                       str(t.sizes), " at dimension ", dim, " and source slice shape: ", str(source->sizes),
                       " at dimension ", dim);
    }
    TensorRef target = target_of(call);
    if (t.is_meta()) return deliver(call, target);
    TensorRef dense = separate(*source, *target);
    if (dense->ndim() == 0 && t.ndim() == 1) dense = expand_view(*dense, {1});
    TensorRef ids = index.storage == target->storage ? clone(index) : TensorRef::borrow(&index);
    TensorRef counts;
    if (mean) {
        counts = empty_strided(target->sizes, target->strides, DType::Int64);
        fill(*counts, Scalar(int64_t(0)));
    }
    if (!include_self) {
        TensorRef start = empty(dense->sizes, t.dtype);
        fill(*start, neutral(reduce, t.dtype));
        index_write(*target, dim, *ids, *start, Reduce::Assign, nullptr);
    }
    index_write(*target, dim, *ids, *dense, reduce, counts.get());
    if (mean) divide_by_counts(*target, *counts, include_self);
    return deliver(call, target);
}

PyObject* index_add(Call& call) {  // input, dim, index, source, alpha
    TensorRef source = TensorRef::borrow(&call.tensor(3));
    const Scalar alpha = call.scalar(4);
    if (!(alpha.is_integral() && alpha.to_int() == 1)) {
        static OpHandle mul("mul");
        source = invoke_tensor(mul, {source.object(), call.args[4]});
    }
    return write_slices(call, source, Reduce::Add, false, true);
}
PyObject* index_copy(Call& call) {
    return write_slices(call, TensorRef::borrow(&call.tensor(3)), Reduce::Assign, false, true);
}
PyObject* index_reduce(Call& call) {
    bool mean;
    const Reduce reduce = reduce_named(call, 4, kIndexReduceNames, mean);
    return write_slices(call, TensorRef::borrow(&call.tensor(3)), reduce, mean, call.boolean(5));
}

PyObject* index_fill(Call& call) {  // input, dim, index, value (a number or a zero-dimensional tensor)
    Tensor &t = call.tensor(0), &index = call.tensor(2);
    const int dim = check_slices(call, t, index, ErrorKind::Index, true);
    if (call.is_tensor(3))
        call.check(call.tensor(3).ndim() == 0,
                   "index_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
                   call.tensor(3).ndim(), " dimension(s).");
    TensorRef target = target_of(call);
    if (t.is_meta() || index.numel == 0 || t.numel == 0) return deliver(call, target);
    const Scalar value = call.scalar(3);
    call.check(!value.is_complex() || is_complex(t.dtype),
               "index_fill_(): Converting complex Scalar to non-complex type is not supported");
    Dims shape = target->sizes;
    if (target->ndim()) shape[dim] = index.numel;
    TensorRef one = empty({}, t.dtype);
    fill(*one, value);
    TensorRef source = expand_view(*one, shape);
    // Negative positions count from the end.
    TensorRef ids = clone(*cast(index, DType::Int64), MemoryFormat::Contiguous);
    int64_t* v = reinterpret_cast<int64_t*>(kernel_pointer(*ids));
    for (int64_t i = 0; i < ids->numel; ++i) v[i] += v[i] < 0 ? t.size(dim) : 0;
    index_write(*target, dim, *ids, *source, Reduce::Assign, nullptr);
    return deliver(call, target);
}

// ---- by flat position, and by mask ---------------------------------------------------------------------------------------------------------------

void check_positions(Call& call, Tensor& t, Tensor& index) {
    call.check(index.dtype == DType::Int64, "Expected a long tensor for index, but got ",
               info(index.dtype).class_name);
    if (t.numel == 0 && index.numel)
        check_as(ErrorKind::Index, false, call.name(), "(): tried to take from an empty tensor");
    if (!t.is_meta()) {
        try {
            check_indices(index, t.numel, 0, call.name(), true, ErrorKind::Index);
        } catch (const Error& e) {
            fail(ErrorKind::Index, "out of range: ", e.what(), " (a tensor of ", t.numel, " elements)");
        }
    }
}

Offsets flat_offsets(Tensor& t, Tensor& index) {
    TensorRef dense = contiguous(index);
    const int64_t* ids = reinterpret_cast<const int64_t*>(kernel_pointer(*dense));
    Offsets out;
    out.resize(index.numel);
    int64_t* offsets = out.data();
    for (int64_t i = 0; i < index.numel; ++i) {
        int64_t at = ids[i] < 0 ? ids[i] + t.numel : ids[i], offset = 0;
        check_as(ErrorKind::Index, uint64_t(at) < uint64_t(t.numel), "index ", ids[i],
                 " is out of range for a tensor of ", t.numel, " elements");
        if (t.contiguous) {
            offset = at;
        } else {
            for (int d = t.ndim() - 1; d >= 0; --d) {
                offset += at % t.sizes[d] * t.strides[d];
                at /= t.sizes[d];
            }
        }
        offsets[i] = offset;
    }
    return out;
}

// For operators whose result has another shape than their inputs: out= may share no memory with them.
void check_out_apart(const Call& call, std::initializer_list<const Tensor*> inputs) {
    const Tensor* out = call.out();
    if (!out) return;
    for (const Tensor* in : inputs) {
        const bool same = out->storage == in->storage && out->offset == in->offset && out->numel && in->numel;
        call.check(
            !same,
            "unsupported operation: the input tensor and the written-to tensor refer to the same memory. "
            "Please clone() the tensor before performing the operation.");
        check_no_partial_overlap(*out, *in, call.name());
    }
}

PyObject* take(Call& call) {
    Tensor &t = call.tensor(0), &index = call.tensor(1);
    check_positions(call, t, index);
    check_out_apart(call, {&t, &index});
    TensorRef out = empty(index.sizes, t.dtype, t.device);
    if (!t.is_meta() && index.numel) {
        IndexPlan plan;
        plan.index_shape = {index.numel};
        plan.offsets = flat_offsets(t, index);
        index_get(*out, t, plan);
    }
    return deliver(call, out);
}

PyObject* put(Call& call) {  // input, index, source, accumulate
    Tensor &t = call.tensor(0), &index = call.tensor(1), &source = call.tensor(2);
    call.check(source.dtype == t.dtype,
               "self and source expected to have the same dtype, but got self.dtype = ",
               info(t.dtype).class_name, " and source.dtype = ", info(source.dtype).class_name);
    call.check(source.numel == index.numel,
               "index and source expected to have the same number of elements, but got index.numel() = ",
               index.numel, ", source.numel() = ", source.numel);
    check_positions(call, t, index);
    TensorRef target = target_of(call);
    if (!t.is_meta() && index.numel) {
        IndexPlan plan;
        plan.index_shape = {index.numel};
        plan.offsets = flat_offsets(*target, index);
        TensorRef values = clone(source, MemoryFormat::Contiguous);
        index_put(*target, *values, plan, call.boolean(3));
    }
    return deliver(call, target);
}

TensorRef dense_mask(Call& call, Tensor& mask, const Dims& shape) {
    call.check(mask.dtype == DType::Bool, "expected BoolTensor for mask, but got ",
               info(mask.dtype).class_name, "; ", call.name(), "_ only supports boolean masks");
    return contiguous(*expand_view(mask, shape));
}

PyObject* masked_select(Call& call) {
    Tensor &t = call.tensor(0), &mask = call.tensor(1);
    const Dims shape = broadcast_shapes(t.sizes, mask.sizes);
    check_out_apart(call, {&t, &mask});
    check(!t.is_meta(),
          "masked_select(): the result's size depends on data, which a meta tensor doesn't have");
    TensorRef m = dense_mask(call, mask, shape);
    TensorRef full = contiguous(*expand_view(t, shape));
    TensorRef out = select_true(*full, *m);
    return deliver(call, out);
}

PyObject* masked_scatter(
    Call& call) {  // input, mask, source: true places take the source's elements in order
    Tensor &t = call.tensor(0), &mask = call.tensor(1), &source = call.tensor(2);
    call.check(source.dtype == t.dtype, "expected self and source to have same dtypes but got ",
               info(t.dtype).class_name, " and ", info(source.dtype).class_name);
    const Dims shape = call.op->inplace ? t.sizes : broadcast_shapes(t.sizes, mask.sizes);
    call.check(broadcastable_to(mask.sizes, shape), "the mask of shape ", str(mask.sizes),
               " does not broadcast to ", str(shape));
    TensorRef m = dense_mask(call, mask, shape);
    TensorRef result = clone(*expand_view(t, shape), MemoryFormat::Contiguous);
    if (!t.is_meta()) {
        const int64_t n = m->numel ? count_true(*m) : 0;
        call.check(n <= source.numel, "Number of elements of source < number of ones in mask (", source.numel,
                   " < ", n, ")");
        TensorRef values = contiguous(source);
        if (n) {
            const uint8_t* on = reinterpret_cast<const uint8_t*>(kernel_pointer(*m));
            visit_width(t.dtype, [&](auto tag) {
                using T = typename decltype(tag)::type;
                const T* in = reinterpret_cast<const T*>(kernel_pointer(*values));
                T* o = reinterpret_cast<T*>(kernel_pointer(*result));
                const T* const end = in + n;
                for (int64_t i = 0; i < m->numel && in < end; ++i)
                    if (on[i]) o[i] = *in++;
            });
        }
    }
    return deliver(call, result);
}

}  // namespace

FLB_OPS({"index", index}, {"index_put_", index_put_}, {"nonzero", nonzero_}, {"gather", gather_},
        {"scatter.src", scatter_src}, {"scatter.value", scatter_value},
        {"scatter.reduce", scatter_src_reduce}, {"scatter.value_reduce", scatter_value_reduce},
        {"scatter_add", scatter_add}, {"scatter_reduce", scatter_reduce}, {"index_select", index_select_},
        {"index_add", index_add}, {"index_copy", index_copy}, {"index_reduce", index_reduce},
        {"index_fill", index_fill}, {"take", take}, {"put", put}, {"masked_select", masked_select},
        {"masked_scatter", masked_scatter});

}  // namespace flb
