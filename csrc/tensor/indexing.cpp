// x[...] and x[...] = value. Integers, slices, None and Ellipsis become one window; index tensors and masks go to the
// operators `index` and `index_put_`.
#include <vector>

#include "bindings/factory.h"
#include "bindings/op.h"
#include "bindings/signature.h"
#include "bindings/types.h"
#include "tensor/python_slots.h"

namespace flb {

namespace {

OpHandle select_op("select"), slice_op("slice"), unsqueeze_op("unsqueeze"), alias_op("alias"),
    index_op("index"), index_put_op("index_put_"), copy_op("copy_"), fill_op("fill_"), type_as_op("type_as");

// The window so far, either as numbers (nothing to record) or as a chain of recorded views.
class Walker {
  public:
    Walker(Tensor& t, bool record)
        : of_(t),
          record_(record),
          current_(TensorRef::borrow(&t)),
          sizes_(t.sizes),
          strides_(t.strides),
          offset_(t.offset) {}

    const Dims& sizes() const { return record_ ? current_->sizes : sizes_; }

    void select(int dim, int64_t index) {
        const int64_t size = sizes()[dim];
        if (index < -size || index >= size)
            fail(ErrorKind::Index, "index ", index, " is out of bounds for dimension ", dim, " with size ",
                 size);
        if (record_) {
            apply(select_op, {dim, index});
            return;
        }
        if (of_.numel) offset_ += (index < 0 ? index + size : index) * strides_[dim];
        sizes_.erase(dim);
        strides_.erase(dim);
    }

    void slice(int dim, PyObject* key) {
        // Python clamps by itself, but a negative step must be refused as PyTorch does.
        Py_ssize_t start, stop, step;
        if (PySlice_Unpack(key, &start, &stop, &step) < 0) throw Error(ErrorKind::Python, "");
        check_as(ErrorKind::Value, step > 0, "step must be greater than zero");
        const Py_ssize_t length = PySlice_AdjustIndices(Py_ssize_t(sizes()[dim]), &start, &stop, step);
        if (start == 0 && step == 1 && length == sizes()[dim] && record_) {
            changed_ = true;
            return;
        }
        if (record_) {
            apply(slice_op, {dim, start, start + (length ? (length - 1) * step + 1 : 0), step});
            return;
        }
        changed_ = true;
        if (length && of_.numel) offset_ += start * strides_[dim];
        sizes_[dim] = length;
        if (__builtin_mul_overflow(strides_[dim], int64_t(step), &strides_[dim])) strides_[dim] = 1;
    }

    void unsqueeze(int dim) {
        if (record_) {
            apply(unsqueeze_op, {dim});
            return;
        }
        int64_t stride = 1;
        if (dim < sizes_.size() && __builtin_mul_overflow(sizes_[dim], strides_[dim], &stride)) stride = 1;
        strides_.insert(dim, stride);
        sizes_.insert(dim, 1);
    }

    TensorRef finish() {
        if (!record_) return make_view(of_, sizes_, strides_, offset_);
        if (current_.get() == &of_) return invoke_tensor(alias_op, {of_.object()});
        return current_;
    }
    // For advanced indexing: the tensor itself when no window was taken.
    TensorRef finish_for_gather(bool windowed) { return windowed ? finish() : TensorRef::borrow(&of_); }

  private:
    void apply(OpHandle& op, std::initializer_list<int64_t> numbers) {
        std::vector<ObjectRef> held;
        PyObject* args[kMaxParams] = {current_.object()};
        int n = 1;
        for (int64_t v : numbers) {
            held.push_back(ObjectRef::steal(checked_object(PyLong_FromLongLong(v))));
            args[n++] = held.back().get();
        }
        Op* o = op.get();
        for (; n < int(o->params->size()); ++n) args[n] = (*o->params)[size_t(n)].default_value;
        current_ = TensorRef::steal(invoke(o, args));
    }

    Tensor& of_;
    bool record_;
    bool changed_ = false;
    TensorRef current_;
    Dims sizes_, strides_;
    int64_t offset_;
};

bool is_sequence_index(PyObject* o) { return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o); }

bool is_plain_int(PyObject* o) {
    if (PyBool_Check(o)) return false;
    if (PyLong_Check(o)) return true;
    if (is_tensor(o)) {
        Tensor& t = *reinterpret_cast<Tensor*>(o);
        return t.ndim() == 0 && is_integral(t.dtype, false) && t.dtype != DType::UInt8 && !t.is_meta() &&
               !t.is_batched();
    }
    return !is_sequence_index(o) && !PySlice_Check(o) && PyIndex_Check(o) && !PySequence_Check(o);
}

// A list, range or array as an index tensor: the Python half converts.
TensorRef index_tensor(PyObject* o) {
    if (is_tensor(o)) return TensorRef::borrow(o);
    if (PyBool_Check(o)) return scalar_tensor(Scalar(o == Py_True), DType::Bool);
    ObjectRef module = ObjectRef::steal(checked_object(PyImport_ImportModule("flambeau._tensor.index_keys")));
    ObjectRef converted =
        ObjectRef::steal(checked_object(PyObject_CallMethod(module.get(), "as_index", "(O)", o)));
    check_as(ErrorKind::Type, is_tensor(converted.get()), "an index must become a tensor");
    return TensorRef::borrow(converted.get());
}

int consumed_dims(PyObject* o) {
    if (o == Py_None || o == Py_Ellipsis || PyBool_Check(o)) return 0;
    if (is_tensor(o)) {
        Tensor& t = *reinterpret_cast<Tensor*>(o);
        if (t.dtype == DType::Bool || t.dtype == DType::UInt8) return t.ndim();
    }
    return 1;
}

// NumPy's old rule: a short list that holds more than numbers is read as a tuple of indices.
bool stands_for_tuple(PyObject* key) {
    if (!PyList_Check(key) || PyList_GET_SIZE(key) >= 32) return false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(key); ++i) {
        PyObject* o = PyList_GET_ITEM(key, i);
        if (is_tensor(o) || PySlice_Check(o) || o == Py_None || o == Py_Ellipsis || PySequence_Check(o))
            return true;
    }
    return false;
}

struct Indexed {
    TensorRef window;
    std::vector<TensorRef> indices;  // per dimension of window, null where not indexed; empty: only a window
};

Indexed take_window(Tensor& t, PyObject* key, bool record) {
    ObjectRef tuple;
    if (stands_for_tuple(key)) {
        tuple = ObjectRef::steal(checked_object(PyList_AsTuple(key)));
        key = tuple.get();
    }
    PyObject* single[1] = {key};
    PyObject** items = single;
    Py_ssize_t n = 1;
    if (PyTuple_Check(key)) {
        items = &PyTuple_GET_ITEM(key, 0);
        n = PyTuple_GET_SIZE(key);
    }
    // Lists convert once, before dimensions are counted: a list of bools is a mask.
    std::vector<ObjectRef> converted;
    std::vector<PyObject*> keys(items, items + n);
    int consumed = 0, ellipses = 0;
    for (PyObject*& k : keys) {
        const bool simple = is_tensor(k) || PySlice_Check(k) || k == Py_None || k == Py_Ellipsis ||
                            PyBool_Check(k) || is_plain_int(k);
        if (!simple) {
            converted.push_back(ObjectRef::steal(index_tensor(k).release()));
            k = converted.back().get();
        }
        consumed += consumed_dims(k);
        ellipses += k == Py_Ellipsis;
    }
    if (ellipses > 1) fail(ErrorKind::Index, "an index can only have a single ellipsis ('...')");
    if (consumed > t.ndim()) fail(ErrorKind::Index, "too many indices for tensor of dimension ", t.ndim());
    Walker walker(t, record);
    Indexed out;
    int dim = 0;
    bool windowed = false, gathers = false;
    for (PyObject* k : keys) {
        if (k == Py_Ellipsis) {
            dim += t.ndim() - consumed;
        } else if (k == Py_None) {
            walker.unsqueeze(dim++);
            windowed = true;
        } else if (PySlice_Check(k)) {
            walker.slice(dim++, k);
            windowed = true;
        } else if (is_plain_int(k)) {
            ObjectRef index = ObjectRef::steal(checked_object(PyNumber_Index(k)));
            const long long i = PyLong_AsLongLong(index.get());
            if (i == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
            walker.select(dim, i);
            windowed = true;
        } else {
            TensorRef index = index_tensor(k);
            const bool mask = index->dtype == DType::Bool || index->dtype == DType::UInt8;
            if (mask && index->ndim() == 0) {
                // x[True]: a new dimension, kept or dropped as a whole.
                walker.unsqueeze(dim);
                windowed = true;
                TensorRef one = empty({1}, DType::Bool);
                fill(*one, item(*index).to_bool());
                index = one;
            }
            out.indices.resize(size_t(dim));
            out.indices.push_back(index);
            dim += mask && index->ndim() > 0 ? index->ndim() : 1;
            gathers = true;
            // A mask over several dimensions stands at its first one; `index` spreads it.
            continue;
        }
    }
    if (!gathers) out.indices.clear();
    out.window = gathers ? walker.finish_for_gather(windowed) : walker.finish();
    return out;
}

ObjectRef index_list(const Indexed& indexed) {
    ObjectRef list = ObjectRef::steal(checked_object(PyList_New(0)));
    for (const TensorRef& t : indexed.indices)
        if (PyList_Append(list.get(), t ? t.object() : Py_None) < 0) throw Error(ErrorKind::Python, "");
    return list;
}

// Whether a single tensor indexes, and it is a mask with dimensions.
bool is_one_mask(const Indexed& indexed) {
    const Tensor* only = nullptr;
    for (const TensorRef& t : indexed.indices) {
        if (!t) continue;
        if (only) return false;
        only = t.get();
    }
    return only && only->dtype == DType::Bool && only->ndim() > 0;
}

PyObject* sparse_getitem(PyObject* self, PyObject* key) {
    ObjectRef module = ObjectRef::steal(checked_object(PyImport_ImportModule("flambeau._ops.sparse.shape")));
    return checked_object(PyObject_CallMethod(module.get(), "getitem", "OO", self, key));
}

}  // namespace

PyObject* tensor_subscript(PyObject* self, PyObject* key) {
    return guarded([&]() -> PyObject* {
        Tensor& t = *reinterpret_cast<Tensor*>(self);
        if (!is_exact_tensor(self) && has_torch_function(self)) return subclass_getitem(self, key);
        if (t.sparse) return sparse_getitem(self, key);
        const bool record = t.wrapped || (grad_mode() && t.requires_grad());
        Indexed indexed = take_window(t, key, record);
        if (indexed.indices.empty()) return indexed.window.release();
        ObjectRef list = index_list(indexed);
        return invoke_tensor(index_op, {indexed.window.object(), list.get()}).release();
    });
}

int tensor_ass_subscript(PyObject* self, PyObject* key, PyObject* value) {
    PyObject* ok = guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, value, "Tensor does not support deleting items");
        Tensor& t = *reinterpret_cast<Tensor*>(self);
        check_as(ErrorKind::Type, !t.sparse, "Cannot assign to a sparse tensor");
        if (!is_exact_tensor(self) && has_torch_function(self)) return subclass_setitem(self, key, value);
        const bool record = t.wrapped || (grad_mode() && t.requires_grad());
        Indexed indexed = take_window(t, key, record);
        TensorRef number;
        PyObject* source = value;
        const bool scalar = !is_tensor(value) && is_number(value);
        if (!is_tensor(value) && !scalar) {
            ObjectRef module =
                ObjectRef::steal(checked_object(PyImport_ImportModule("flambeau._tensor.index_keys")));
            ObjectRef converted = ObjectRef::steal(
                checked_object(PyObject_CallMethod(module.get(), "as_value", "OO", value, self)));
            check_as(ErrorKind::Type, is_tensor(converted.get()), "can't assign a ", Py_TYPE(value)->tp_name,
                     " to a tensor");
            number = TensorRef::borrow(converted.get());
            source = number.object();
        }
        if (indexed.indices.empty()) {
            TensorRef window = indexed.window.get() == &t ? invoke_tensor(alias_op, {self}) : indexed.window;
            // A number beyond what a narrow float holds is converted as an element would be; fill_ refuses it.
            const bool narrow = scalar && is_floating(t.dtype) && itemsize(t.dtype) <= 2;
            const bool converted =
                narrow && !number_from(value).is_complex() && !number_from(value).fits(t.dtype);
            if (scalar && !converted) return invoke_tensor(fill_op, {window.object(), source}).release();
            if (converted) {
                number = scalar_tensor(number_from(value), t.dtype, t.device);
                source = number.object();
            }
            // A source with leading dimensions of size one is accepted as it is in NumPy.
            TensorRef from = TensorRef::borrow(source);
            Tensor& s = *from;
            if (s.ndim() > window->ndim()) {
                int extra = s.ndim() - window->ndim(), lead = 0;
                while (lead < extra && s.sizes[lead] == 1) ++lead;
                if (lead == extra) {
                    for (int i = 0; i < extra; ++i) {
                        ObjectRef zero = ObjectRef::steal(PyLong_FromLong(0));
                        from = invoke_tensor(select_op, {from.object(), zero.get(), zero.get()});
                    }
                }
            }
            return invoke_tensor(copy_op, {window.object(), from.object()}).release();
        }
        if (scalar) {
            const Scalar given = number_from(value);
            if (!is_floating(t.dtype)) check_fits(given, t.dtype);  // floats become infinite
            number = scalar_tensor(given, t.dtype, t.device);
            source = number.object();
        } else if (Tensor& one = *reinterpret_cast<Tensor*>(source);
                   one.numel == 1 && one.dtype != t.dtype && is_one_mask(indexed)) {
            // One element for all that a mask picks is converted, as by masked_fill; others have to have the dtype.
            if (!one.is_meta() && !one.wrapped) check_fits(number_of(one), t.dtype);
            number = invoke_tensor(type_as_op, {source, indexed.window.object()});
            source = number.object();
        }
        ObjectRef list = index_list(indexed);
        return invoke_tensor(index_put_op, {indexed.window.object(), list.get(), source}).release();
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}

}  // namespace flb
