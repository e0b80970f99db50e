// The Tensor type as Python sees it: life and death, attributes, conversions.

#include "autograd/node.h"
#include "bindings/interop.h"
#include "bindings/op.h"
#include "bindings/types.h"
#include "tensor/python_slots.h"
#include "tensor/sparse.h"
#include "transforms/level.h"

namespace flb {

namespace {

Tensor& self_of(PyObject* o) { return *reinterpret_cast<Tensor*>(o); }

// ---- life ---------------------------------------------------------------------------------------------------------------

// torch.Tensor(...) with its many old forms is Python (flambeau/_tensor/legacy.py).
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    ObjectRef module = ObjectRef::steal(PyImport_ImportModule("flambeau._tensor.legacy"));
    if (!module) return nullptr;
    ObjectRef function = ObjectRef::steal(PyObject_GetAttrString(module.get(), "new"));
    if (!function) return nullptr;
    ObjectRef all = ObjectRef::steal(PyTuple_New(PyTuple_GET_SIZE(args) + 1));
    if (!all) return nullptr;
    PyTuple_SET_ITEM(all.get(), 0, Py_NewRef(reinterpret_cast<PyObject*>(type)));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i)
        PyTuple_SET_ITEM(all.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    return PyObject_Call(function.get(), all.get(), kwargs);
}

// Subclasses take their own constructor arguments; object.__init__ would refuse them.
int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }

int tensor_traverse(PyObject* self, visitproc visit, void* arg) {
    Tensor& t = self_of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(t.dict);
    if (t.grad_fn) Py_VISIT(node_object(t.grad_fn));
    if (t.base) Py_VISIT(t.base->object());
    if (t.wrapped) {
        Py_VISIT(t.wrapped->value->object());
        if (t.wrapped->tangent) Py_VISIT(t.wrapped->tangent->object());
    }
    if (t.meta) {
        Py_VISIT(t.meta->grad);
        Py_VISIT(t.meta->hooks);
        Py_VISIT(t.meta->post_accumulate);
    }
    return 0;
}

int tensor_clear(PyObject* self) {
    Tensor& t = self_of(self);
    drop_retained_gradient(t);
    Py_CLEAR(t.dict);
    if (t.meta) {
        Py_CLEAR(t.meta->grad);
        Py_CLEAR(t.meta->hooks);
        Py_CLEAR(t.meta->post_accumulate);
    }
    if (t.grad_fn) {
        PyObject* fn = node_object(t.grad_fn);
        t.grad_fn = nullptr;
        Py_DECREF(fn);
    }
    return 0;
}

// Attributes can close reference cycles, so the collector must see a tensor that has some, and a tensor that is one:
// `x.twice = x.view(-1)` is a cycle through the view's base.
int tensor_setattr(PyObject* self, PyObject* name, PyObject* value) {
    if (PyObject_GenericSetAttr(self, name, value) < 0) return -1;
    if (value && self_of(self).dict) {
        track_tensor(self_of(self));
        if (is_tensor(value)) track_tensor(self_of(value));
    }
    return 0;
}

// ---- attributes -----------------------------------------------------------------------------------------------------------

PyObject* get_shape(PyObject* self, void*) {
    return guarded([&] { return size_object(self_of(self).sizes); });
}
PyObject* get_dtype(PyObject* self, void*) { return Py_NewRef(dtype_object(self_of(self).dtype)); }
PyObject* get_device(PyObject* self, void*) {
    return guarded([&] { return device_object(Device{self_of(self).device}); });
}
PyObject* get_layout(PyObject* self, void*) { return Py_NewRef(layout_object(layout_of(self_of(self)))); }
PyObject* get_is_sparse(PyObject* self, void*) {
    return PyBool_FromLong(layout_of(self_of(self)) == Layout::SparseCoo);
}
PyObject* get_is_sparse_csr(PyObject* self, void*) {
    return PyBool_FromLong(layout_of(self_of(self)) == Layout::SparseCsr);
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(self_of(self).ndim()); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromLong(itemsize(self_of(self).dtype)); }
PyObject* get_nbytes(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        check(!self_of(self).sparse,
              "nbytes is not defined for sparse tensors: add the nbytes of the indices and the values, "
              "or multiply numel() by element_size() for the size of the equivalent dense tensor.");
        return PyLong_FromSize_t(self_of(self).nbytes());
    });
}
PyObject* get_requires_grad(PyObject* self, void*) { return PyBool_FromLong(self_of(self).requires_grad()); }
void set_requires_grad_value(Tensor& t, bool value) {
    if (!t.is_leaf()) {
        check(value,
              "you can only change requires_grad flags of leaf variables. If you want to use a computed "
              "variable in a "
              "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
        return;
    }
    check(!value || is_differentiable(t.dtype),
          "only Tensors of floating point dtype can require gradients, got ", name_of(t.dtype));
    check(!value || !t.inference || inference_mode(),
          "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
    t.requires_grad_flag = value;
}
int set_requires_grad(PyObject* self, PyObject* value, void*) {
    PyObject* ok = guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, value && PyBool_Check(value), "requires_grad must be a bool");
        set_requires_grad_value(self_of(self), value == Py_True);
        Py_RETURN_NONE;
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}
PyObject* get_grad(PyObject* self, void*) {
    Tensor& t = self_of(self);
    if (t.meta && t.meta->grad) return Py_NewRef(t.meta->grad);
    const bool hidden = t.grad_fn && !(t.meta && t.meta->retains_grad);
    if (hidden &&
        PyErr_WarnEx(
            PyExc_UserWarning,
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
            "attribute won't be "
            "populated during autograd.backward(). If you indeed want the .grad field to be populated for a "
            "non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.",
            1) < 0)
        return nullptr;
    Py_RETURN_NONE;
}
int set_grad(PyObject* self, PyObject* value, void*) {
    PyObject* ok = guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        if (!value || value == Py_None) {
            if (t.meta) Py_CLEAR(t.meta->grad);
            Py_RETURN_NONE;
        }
        check_as(ErrorKind::Type, is_tensor(value),
                 "assigned grad expected to be a Tensor or None but got grad of type ",
                 Py_TYPE(value)->tp_name);
        check(value != self, "can't assign Variable as its own grad");
        const Tensor& g = self_of(value);
        check(g.dtype == t.dtype, "attempting to assign a gradient with dtype '", info(g.dtype).class_name,
              "' to a tensor with dtype '", info(t.dtype).class_name,
              "'. The gradient must match the tensor's dtype");
        check(layout_of(g) == layout_of(t) || !t.sparse,
              "attempting to assign a gradient to a tensor that has data of a different type: its layout is ",
              layout_word(layout_of(g)), ", not ", layout_word(layout_of(t)));
        check(g.device == t.device, "assigned grad has data located on a different device");
        check(g.sizes == t.sizes, "assigned grad has data of a different size: ", str(g.sizes),
              " for a tensor of size ", str(t.sizes));
        Py_INCREF(value);
        PyObject* old = t.ensure_meta().grad;
        t.meta->grad = value;
        Py_XDECREF(old);
        Py_RETURN_NONE;
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}
PyObject* get_grad_fn(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        Node* fn = grad_fn_of(self_of(self));
        if (!fn) Py_RETURN_NONE;
        track_tensor(self_of(self));  // what users attach to the node can close a cycle
        return expose_node(fn);
    });
}
PyObject* get_is_leaf(PyObject* self, void*) {
    return guarded([&]() -> PyObject* { return PyBool_FromLong(grad_fn_of(self_of(self)) == nullptr); });
}
PyObject* get_output_nr(PyObject* self, void*) { return PyLong_FromUnsignedLong(self_of(self).output_nr); }
PyObject* get_version(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        check(!self_of(self).inference, "Inference tensors do not track version counter.");
        return PyLong_FromUnsignedLong(version_value(self_of(self)));
    });
}
PyObject* get_base(PyObject* self, void*) {
    Tensor* base = self_of(self).base;
    return Py_NewRef(base ? base->object() : Py_None);
}
PyObject* get_retains_grad(PyObject* self, void*) {
    Tensor& t = self_of(self);
    return PyBool_FromLong(t.meta && t.meta->retains_grad);
}
PyObject* get_backward_hooks(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        PyObject** hooks = backward_hooks_of(self_of(self), false);
        return Py_NewRef(hooks && *hooks ? *hooks : Py_None);
    });
}
int set_backward_hooks(PyObject* self, PyObject* value, void*) {
    PyObject* ok = guarded([&]() -> PyObject* {
        check(value, "Deletion of _backward_hooks not allowed!");
        check_as(ErrorKind::Type, value == Py_None || PyDict_Check(value),
                 "_backward_hooks must be a dictionary of hooks or None, not ", Py_TYPE(value)->tp_name);
        const bool some = value != Py_None;
        PyObject** hooks = backward_hooks_of(self_of(self), some);
        if (hooks) {
            PyObject* old = *hooks;
            *hooks = some ? Py_NewRef(value) : nullptr;
            Py_XDECREF(old);
        }
        Py_RETURN_NONE;
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}
PyObject* get_data(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        TensorRef out = shallow_copy(t);
        if (out->own_version) release_version(out->own_version);
        out->own_version = new Version();
        if (Py_TYPE(self) == TensorType || Py_TYPE(self) == ParameterType) return out.release();
        return as_subclass(std::move(out), Py_TYPE(self));
    });
}
int set_data(PyObject* self, PyObject* value, void*) {
    PyObject* ok = guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, value && is_tensor(value), "Variable data has to be a tensor, but got ",
                 value ? Py_TYPE(value)->tp_name : "nothing");
        Tensor &t = self_of(self), &from = self_of(value);
        check(!t.requires_grad() || is_differentiable(from.dtype),
              "data set to a tensor that requires gradients must be floating point or complex dtype");
        check(layout_of(t) == layout_of(from),
              "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have incompatible "
              "tensor type: ",
              layout_word(layout_of(t)), " and ", layout_word(layout_of(from)));
        if (from.sparse) set_parts(t, SparseParts(*from.sparse));
        set_storage(t, from.storage);
        t.dtype = from.dtype;
        t.sizes = from.sizes;
        t.strides = from.strides;
        t.offset = from.offset;
        t.numel = from.numel;
        t.contiguous = from.contiguous;
        // Assigning .data is invisible to autograd: the counter must not start to follow the other storage's.
        if (!t.own_version) { t.own_version = new Version(); }
        Py_RETURN_NONE;
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_is_cpu(PyObject* self, void*) { return PyBool_FromLong(!self_of(self).is_meta()); }
PyObject* get_is_meta(PyObject* self, void*) { return PyBool_FromLong(self_of(self).is_meta()); }

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "The size of each dimension, as a torch.Size.", nullptr},
    {"dtype", get_dtype, nullptr, "The dtype of the elements.", nullptr},
    {"device", get_device, nullptr, "Where the elements live.", nullptr},
    {"layout", get_layout, nullptr, "torch.strided, or one of the sparse layouts.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements: numel() * itemsize.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether gradients are recorded for this tensor.",
     nullptr},
    {"grad", get_grad, set_grad, "The gradient that backward() accumulated, or None.", nullptr},
    {"_grad", get_grad, set_grad, nullptr, nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The graph node that made this tensor; None for a leaf.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "True when no recorded operator made this tensor.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which output of grad_fn this is.", nullptr},
    {"_version", get_version, nullptr, "How many in-place writes the storage has seen.", nullptr},
    {"_base", get_base, nullptr, "The tensor this one views, or None.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "Whether retain_grad() was asked of this non-leaf.", nullptr},
    {"_backward_hooks", get_backward_hooks, set_backward_hooks,
     "The hooks of register_hook in their order, or None.", nullptr},
    {"data", get_data, set_data, "The same elements, unseen by autograd.", nullptr},
    {"is_cpu", get_is_cpu, nullptr, nullptr, nullptr},
    {"is_meta", get_is_meta, nullptr, nullptr, nullptr},
    {"is_cuda", get_false, nullptr, nullptr, nullptr},
    {"is_xpu", get_false, nullptr, nullptr, nullptr},
    {"is_mps", get_false, nullptr, nullptr, nullptr},
    {"is_xla", get_false, nullptr, nullptr, nullptr},
    {"is_mtia", get_false, nullptr, nullptr, nullptr},
    {"is_hpu", get_false, nullptr, nullptr, nullptr},
    {"is_maia", get_false, nullptr, nullptr, nullptr},
    {"is_ipu", get_false, nullptr, nullptr, nullptr},
    {"is_vulkan", get_false, nullptr, nullptr, nullptr},
    {"is_sparse", get_is_sparse, nullptr, nullptr, nullptr},
    {"is_sparse_csr", get_is_sparse_csr, nullptr, nullptr, nullptr},
    {"is_quantized", get_false, nullptr, nullptr, nullptr},
    {"is_mkldnn", get_false, nullptr, nullptr, nullptr},
    {"is_nested", get_false, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

// ---- methods that only look ---------------------------------------------------------------------------------------------

// size() and stride(): all, or one dimension.
template <Dims Tensor::* field>
PyObject* dims_or_one(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    return guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        const Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
        check_as(ErrorKind::Type, nargs + nkw <= 1, "takes at most 1 argument (", nargs + nkw, " given)");
        if (nkw)
            check_as(ErrorKind::Type,
                     PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "dim") == 0,
                     "unexpected keyword argument");
        if (nargs + nkw == 1 && args[0] != Py_None) {
            const Py_ssize_t dim = PyNumber_AsSsize_t(args[0], PyExc_IndexError);
            if (dim == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
            if (t.ndim() == 0)
                fail(ErrorKind::Index, "Dimension specified as ", dim, " but tensor has no dimensions");
            return PyLong_FromLongLong((t.*field)[wrap_dim(dim, t.ndim())]);
        }
        if constexpr (field == &Tensor::strides) {
            check(layout_of(t) <= Layout::SparseCoo, layout_word(layout_of(t)),
                  " tensors do not have strides");
        }
        if constexpr (field == &Tensor::sizes) {
            return size_object(t.sizes);
        } else {
            PyObject* out = checked_object(PyTuple_New(t.ndim()));
            for (int i = 0; i < t.ndim(); ++i) PyTuple_SET_ITEM(out, i, PyLong_FromLongLong(t.strides[i]));
            return out;
        }
    });
}
PyObject* method_dim(PyObject* self, PyObject*) { return PyLong_FromLong(self_of(self).ndim()); }
PyObject* method_numel(PyObject* self, PyObject*) { return PyLong_FromLongLong(self_of(self).numel); }
PyObject* method_element_size(PyObject* self, PyObject*) {
    return PyLong_FromLong(itemsize(self_of(self).dtype));
}
PyObject* method_storage_offset(PyObject* self, PyObject*) {
    return PyLong_FromLongLong(self_of(self).offset);
}
PyObject* method_data_ptr(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        return PyLong_FromVoidPtr(t.is_meta() ? nullptr : kernel_pointer(t));
    });
}
PyObject* method_is_contiguous(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"memory_format", nullptr};
    PyObject* format = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", const_cast<char**>(names), &format)) return nullptr;
    return guarded([&]() -> PyObject* {
        MemoryFormat f = MemoryFormat::Contiguous;
        if (format) {
            check_as(ErrorKind::Type, is_memory_format_object(format),
                     "is_contiguous(): argument 'memory_format' must be torch.memory_format");
            f = memory_format_from(format);
            check(f != MemoryFormat::Preserve,
                  "preserve memory format is unsupported by the contiguous operator");
        }
        return PyBool_FromLong(is_contiguous(self_of(self), f));
    });
}
PyObject* method_is_floating_point(PyObject* self, PyObject*) {
    return PyBool_FromLong(is_floating(self_of(self).dtype));
}
PyObject* method_is_complex(PyObject* self, PyObject*) {
    return PyBool_FromLong(is_complex(self_of(self).dtype));
}
PyObject* method_is_signed(PyObject* self, PyObject*) {
    return PyBool_FromLong(info(self_of(self).dtype).is_signed);
}
PyObject* method_is_inference(PyObject* self, PyObject*) { return PyBool_FromLong(self_of(self).inference); }
PyObject* method_is_view(PyObject* self, PyObject*) { return PyBool_FromLong(self_of(self).base != nullptr); }
PyObject* method_false(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* method_item(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* { return scalar_object(number_of(self_of(self))); });
}
PyObject* method_requires_grad_(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"requires_grad", nullptr};
    int value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p", const_cast<char**>(names), &value)) return nullptr;
    return guarded([&]() -> PyObject* {
        if (value)
            check_outside_functions(
                "You are attempting to call Tensor.requires_grad_() (or perhaps using "
                "torch.autograd.functional.* APIs) "
                "inside of a function being transformed by a torch.func transform. This is unsupported, "
                "please attempt to "
                "use the transforms (grad, vjp, jacrev, jvp ...) or call requires_grad_() outside of the "
                "function");
        set_requires_grad_value(self_of(self), value);
        return Py_NewRef(self);
    });
}
PyObject* method_untyped_storage(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        check_as(ErrorKind::NotImplemented, !t.sparse, "Cannot access storage of a tensor of layout ",
                 layout_word(layout_of(t)), ": it has none; its indices and values have");
        return storage_object(t.storage);
    });
}
PyObject* method_is_set_to(PyObject* self, PyObject* other) {
    if (!is_tensor(other)) Py_RETURN_FALSE;
    Tensor &a = self_of(self), &b = self_of(other);
    return PyBool_FromLong(a.storage == b.storage && a.offset == b.offset && a.sizes == b.sizes &&
                           a.strides == b.strides);
}
PyObject* tolist(Tensor& t, const char* data, int dim) {
    if (dim == t.ndim()) return checked_object(scalar_object(Scalar::load(t.dtype, data)));
    ObjectRef list = ObjectRef::steal(checked_object(PyList_New(t.sizes[dim])));
    // The stride of one element may be any number.
    const int64_t step = t.sizes[dim] > 1 && t.numel ? t.strides[dim] * itemsize(t.dtype) : 0;
    for (int64_t i = 0; i < t.sizes[dim]; ++i)
        PyList_SET_ITEM(list.get(), i, tolist(t, data ? data + i * step : nullptr, dim + 1));
    return list.release();
}
PyObject* method_tolist(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        const MemoryInUse section;  // making lists can start the garbage collector, and so run anything
        const TensorRef window = shallow_copy(self_of(self));
        return tolist(*window, kernel_pointer(*window), 0);
    });
}
PyObject* method_make_subclass(PyObject*, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"cls", "data", "require_grad", nullptr};
    PyObject *type, *data;
    int requires_grad = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|p", const_cast<char**>(names), &type, &data,
                                     &requires_grad))
        return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type,
                 PyType_Check(type) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), TensorType),
                 "cls must be a subclass of Tensor");
        check_as(ErrorKind::Type, is_tensor(data), "_make_subclass(): argument 'data' must be Tensor, not ",
                 Py_TYPE(data)->tp_name);
        ObjectRef out =
            ObjectRef::steal(as_subclass(shallow_copy(self_of(data)), reinterpret_cast<PyTypeObject*>(type)));
        if (requires_grad) set_requires_grad_value(self_of(out.get()), true);
        return out.release();
    });
}
PyObject* method_as_subclass(PyObject* self, PyObject* type) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type,
                 PyType_Check(type) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), TensorType),
                 "cls must be a subclass of Tensor");
        Tensor& t = self_of(self);
        TensorRef copy = shallow_copy(t);
        copy->requires_grad_flag = t.requires_grad_flag;
        if (t.grad_fn) set_history(*copy, t.grad_fn, int(t.output_nr));
        return as_subclass(std::move(copy), reinterpret_cast<PyTypeObject*>(type));
    });
}

PyMethodDef methods[] = {
    {"size", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(dims_or_one<&Tensor::sizes>)),
     METH_FASTCALL | METH_KEYWORDS,
     "size(dim=None)\n\nThe torch.Size of the tensor, or the size of one dimension."},
    {"stride", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(dims_or_one<&Tensor::strides>)),
     METH_FASTCALL | METH_KEYWORDS,
     "stride(dim=None)\n\nSteps between neighbours, in elements: of all dimensions, or of one."},
    {"dim", method_dim, METH_NOARGS, "The number of dimensions."},
    {"ndimension", method_dim, METH_NOARGS, "The number of dimensions."},
    {"numel", method_numel, METH_NOARGS, "The number of elements."},
    {"nelement", method_numel, METH_NOARGS, "The number of elements."},
    {"element_size", method_element_size, METH_NOARGS, "Bytes of one element."},
    {"storage_offset", method_storage_offset, METH_NOARGS,
     "Where the first element lies in the storage, in elements."},
    {"data_ptr", method_data_ptr, METH_NOARGS, "The address of the first element; 0 for an empty tensor."},
    {"is_contiguous", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(method_is_contiguous)),
     METH_VARARGS | METH_KEYWORDS,
     "is_contiguous(memory_format=torch.contiguous_format)\n\nWhether the elements lie in memory in the "
     "order of that format."},
    {"is_floating_point", method_is_floating_point, METH_NOARGS, nullptr},
    {"is_complex", method_is_complex, METH_NOARGS, nullptr},
    {"is_signed", method_is_signed, METH_NOARGS, nullptr},
    {"is_inference", method_is_inference, METH_NOARGS, nullptr},
    {"is_conj", method_false, METH_NOARGS, "False: conjugation is done at once."},
    {"is_neg", method_false, METH_NOARGS, "False: negation is done at once."},
    {"is_pinned", reinterpret_cast<PyCFunction>(method_false), METH_VARARGS,
     "False: there is no device to pin memory for."},
    {"_is_view", method_is_view, METH_NOARGS, "Whether autograd sees this tensor as a view of `_base`."},
    {"item", method_item, METH_NOARGS, "The one element as a Python number."},
    {"tolist", method_tolist, METH_NOARGS, "The elements as nested lists of Python numbers."},
    {"requires_grad_", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(method_requires_grad_)),
     METH_VARARGS | METH_KEYWORDS,
     "requires_grad_(requires_grad=True)\n\nSets requires_grad in place and returns the tensor."},
    {"untyped_storage", method_untyped_storage, METH_NOARGS, "The UntypedStorage under this tensor."},
    {"is_set_to", method_is_set_to, METH_O, "Whether both are the same window on the same storage."},
    {"_make_subclass", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(method_make_subclass)),
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, nullptr},
    {"as_subclass", method_as_subclass, METH_O,
     "as_subclass(cls)\n\nThe same tensor as an instance of a subclass."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Tensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Tensor, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyObject* set_parameter_type(PyObject*, PyObject* type) {
    ParameterType = reinterpret_cast<PyTypeObject*>(Py_NewRef(type));
    Py_RETURN_NONE;
}
PyMethodDef module_functions[] = {
    {"_set_parameter_type", set_parameter_type, METH_O,
     "Registers nn.Parameter, whose instances operators take as plain tensors."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

// The plain tensor's fields move into an instance of the subclass.
PyObject* as_subclass(TensorRef plain, PyTypeObject* type) {
    if (type == TensorType) return plain.release();
    Tensor* out = construct_subclass(type);
    std::swap(out->storage, plain->storage);
    std::swap(out->own_version, plain->own_version);
    out->offset = plain->offset;
    out->numel = plain->numel;
    std::swap(out->sizes, plain->sizes);
    std::swap(out->strides, plain->strides);
    out->dtype = plain->dtype;
    out->device = plain->device;
    out->requires_grad_flag = plain->requires_grad_flag;
    out->contiguous = plain->contiguous;
    out->inference = plain->inference;
    out->view_kind = plain->view_kind;
    out->view_version = plain->view_version;
    out->output_nr = plain->output_nr;
    std::swap(out->base, plain->base);
    std::swap(out->grad_fn, plain->grad_fn);
    std::swap(out->sparse, plain->sparse);
    std::swap(out->wrapped, plain->wrapped);
    return out->object();
}

void init_tensor_type(PyObject* module) {
    std::vector<PyType_Slot> slots = {
        {Py_tp_new, reinterpret_cast<void*>(tensor_new)},
        {Py_tp_init, reinterpret_cast<void*>(tensor_init)},
        {Py_tp_setattro, reinterpret_cast<void*>(tensor_setattr)},
        {Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
        {Py_tp_traverse, reinterpret_cast<void*>(tensor_traverse)},
        {Py_tp_clear, reinterpret_cast<void*>(tensor_clear)},
        {Py_tp_getset, getset},
        {Py_tp_methods, methods},
        {Py_tp_members, members},
        {Py_tp_doc, const_cast<char*>(
                        "A multi-dimensional array of elements of one dtype, with automatic derivatives.")},
    };
    slots.push_back({Py_bf_getbuffer, reinterpret_cast<void*>(get_tensor_buffer)});
    slots.push_back({Py_bf_releasebuffer, reinterpret_cast<void*>(release_tensor_buffer)});
    add_protocol_slots(slots);
    slots.push_back({0, nullptr});
    PyType_Spec spec = {"torch.Tensor", sizeof(Tensor), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots.data()};
    TensorType = reinterpret_cast<PyTypeObject*>(checked_object(PyType_FromSpec(&spec)));
    PyModule_AddObject(module, "Tensor", Py_NewRef(reinterpret_cast<PyObject*>(TensorType)));
    if (PyModule_AddFunctions(module, module_functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
