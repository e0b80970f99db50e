// Tensor's number, comparison and sequence protocols: the shortest way from `a + b` to the operator.
#include "tensor/python_slots.h"

#include "bindings/op.h"
#include "bindings/signature.h"
#include "bindings/types.h"

namespace flb {

namespace {

bool plain(PyObject* o) { return is_exact_tensor(o) || (ParameterType && Py_TYPE(o) == ParameterType); }

PyObject* not_implemented_if_type_error(PyObject* result) {
    if (result || !PyErr_ExceptionMatches(PyExc_TypeError)) return result;
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
}

// A call with an argument that has __torch_function__, which is told the method that stands for the sign.
PyObject* call_method(Op* op, PyObject* const* args, size_t count) {
    ObjectRef method = ObjectRef::steal(
        checked_object(PyObject_GetAttrString(reinterpret_cast<PyObject*>(TensorType), op->cname)));
    return PyObject_Vectorcall(method.get(), args, count, nullptr);
}

PyObject* binary(OpHandle& handle, PyObject* a, PyObject* b) {
    return guarded([&]() -> PyObject* {
        Op* op = handle.get();
        const std::vector<Param>& params = *op->params;
        const auto fits = [&](int i, PyObject* o) {
            return plain(o) || (params[i].kind == Kind::Operand && is_number(o));
        };
        if (fits(0, a) && fits(1, b)) {
            PyObject* args[kMaxParams] = {a, b};
            for (size_t i = 2; i < params.size(); ++i) args[i] = params[i].default_value;
            return invoke(op, args);
        }
        // A subclass, or something foreign: the whole call, and NotImplemented if the operator doesn't take it.
        PyObject* args[2] = {a, b};
        if (has_torch_function(a) || has_torch_function(b))
            return not_implemented_if_type_error(call_method(op, args, 2));
        if ((!is_tensor(a) && !is_number(a)) || (!is_tensor(b) && !is_number(b))) Py_RETURN_NOTIMPLEMENTED;
        return not_implemented_if_type_error(
            op->vectorcall(reinterpret_cast<PyObject*>(op), args, 2, nullptr));
    });
}

template <const char* name>
PyObject* binary_slot(PyObject* a, PyObject* b) {
    static OpHandle handle(name);
    // `2 * x` is x * 2 to PyTorch: it matters where only one of them is there.
    if (!__builtin_strcmp(name, "mul") && stored_only_tensors && is_number(a)) std::swap(a, b);
    return binary(handle, a, b);
}
template <const char* name>
PyObject* power_slot(PyObject* a, PyObject* b, PyObject* modulus) {
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return binary_slot<name>(a, b);
}
template <const char* name>
PyObject* unary_slot(PyObject* a) {
    static OpHandle handle(name);
    return guarded([&]() -> PyObject* {
        Op* op = handle.get();
        if (has_torch_function(a)) return call_method(op, &a, 1);
        return op->vectorcall(reinterpret_cast<PyObject*>(op), &a, 1, nullptr);
    });
}
#define FLB_NAME(id) constexpr char k_##id[] = #id
FLB_NAME(add);
FLB_NAME(sub);
FLB_NAME(mul);
FLB_NAME(div);
FLB_NAME(floor_divide);
FLB_NAME(remainder);
FLB_NAME(pow);
FLB_NAME(matmul);
FLB_NAME(bitwise_and);
FLB_NAME(bitwise_or);
FLB_NAME(bitwise_xor);
FLB_NAME(bitwise_left_shift);
FLB_NAME(bitwise_right_shift);
FLB_NAME(neg);
FLB_NAME(abs);
FLB_NAME(bitwise_not);
FLB_NAME(add_);
FLB_NAME(sub_);
FLB_NAME(mul_);
FLB_NAME(div_);
FLB_NAME(floor_divide_);
FLB_NAME(remainder_);
FLB_NAME(pow_);
FLB_NAME(bitwise_and_);
FLB_NAME(bitwise_or_);
FLB_NAME(bitwise_xor_);
FLB_NAME(bitwise_left_shift_);
FLB_NAME(bitwise_right_shift_);
FLB_NAME(eq);
FLB_NAME(ne);
FLB_NAME(lt);
FLB_NAME(le);
FLB_NAME(gt);
FLB_NAME(ge);
#undef FLB_NAME

PyObject* positive(PyObject* a) { return Py_NewRef(a); }

PyObject* rich_compare(PyObject* a, PyObject* b, int op) {
    static OpHandle handles[] = {OpHandle(k_lt), OpHandle(k_le), OpHandle(k_eq),
                                 OpHandle(k_ne), OpHandle(k_gt), OpHandle(k_ge)};
    return binary(handles[op], a, b);
}

Py_hash_t identity_hash(PyObject* self) { return Py_hash_t(reinterpret_cast<uintptr_t>(self) >> 4); }

Tensor& self_of(PyObject* o) { return *reinterpret_cast<Tensor*>(o); }

int truth(PyObject* self) {
    PyObject* value = guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        check(t.numel != 0, "Boolean value of Tensor with no values is ambiguous");
        check(t.numel == 1, "Boolean value of Tensor with more than one value is ambiguous");
        check(!t.is_batched(),
              "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We "
              "don't support that: examples of a batch may differ. Use torch.where instead");
        return PyBool_FromLong(number_of(t).to_bool());
    });
    if (!value) return -1;
    Py_DECREF(value);
    return value == Py_True;
}

PyObject* invert_slot(PyObject* a) {
    if (is_differentiable(self_of(a).dtype) || is_stored_only(self_of(a).dtype)) {
        PyErr_SetString(PyExc_TypeError,
                        "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
        return nullptr;
    }
    return unary_slot<k_bitwise_not>(a);
}

PyObject* to_int(PyObject* self) {
    return guarded([&]() -> PyObject* {
        const Scalar s = number_of(self_of(self));
        if (s.is_integral()) return s.is_bool() ? PyLong_FromLong(s.to_bool()) : scalar_object(s);
        check(!s.is_complex() || s.to_complex().im == 0,
              "value cannot be converted to type int64_t without overflow");
        return PyLong_FromDouble(s.to_double());
    });
}
PyObject* to_float(PyObject* self) {
    return guarded([&]() -> PyObject* {
        const Scalar s = number_of(self_of(self));
        check(!s.is_complex() || s.to_complex().im == 0,
              "value cannot be converted to type double without overflow");
        return PyFloat_FromDouble(s.to_double());
    });
}
PyObject* to_index(PyObject* self) {
    return guarded([&]() -> PyObject* {
        Tensor& t = self_of(self);
        check_as(ErrorKind::Type, is_integral(t.dtype, true) && t.numel == 1,
                 "only integer tensors of a single element can be converted to an index");
        return to_int(self);
    });
}

Py_ssize_t length(PyObject* self) {
    Tensor& t = self_of(self);
    if (t.ndim() == 0) {
        PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
        return -1;
    }
    return Py_ssize_t(t.sizes[0]);
}

PyObject* iterate(PyObject* self) {
    if (self_of(self).ndim() == 0) {
        PyErr_SetString(PyExc_TypeError, "iteration over a 0-d tensor");
        return nullptr;
    }
    ObjectRef parts = ObjectRef::steal(PyObject_CallMethod(self, "unbind", "i", 0));
    return parts ? PyObject_GetIter(parts.get()) : nullptr;
}

}  // namespace

Scalar number_of(Tensor& t) {
    if (!t.sparse) return item(t);
    check(t.numel == 1, "a Tensor with ", t.numel, " elements cannot be converted to Scalar");
    static OpHandle sum("sum");
    return item(*invoke_tensor(sum, {t.object()}));
}

void add_protocol_slots(std::vector<PyType_Slot>& slots) {
    const auto add = [&](int id, auto* function) {
        slots.push_back({id, reinterpret_cast<void*>(function)});
    };
    add(Py_nb_add, binary_slot<k_add>);
    add(Py_nb_subtract, binary_slot<k_sub>);
    add(Py_nb_multiply, binary_slot<k_mul>);
    add(Py_nb_true_divide, binary_slot<k_div>);
    add(Py_nb_floor_divide, binary_slot<k_floor_divide>);
    add(Py_nb_remainder, binary_slot<k_remainder>);
    add(Py_nb_power, power_slot<k_pow>);
    add(Py_nb_matrix_multiply, binary_slot<k_matmul>);
    add(Py_nb_and, binary_slot<k_bitwise_and>);
    add(Py_nb_or, binary_slot<k_bitwise_or>);
    add(Py_nb_xor, binary_slot<k_bitwise_xor>);
    add(Py_nb_lshift, binary_slot<k_bitwise_left_shift>);
    add(Py_nb_rshift, binary_slot<k_bitwise_right_shift>);
    add(Py_nb_inplace_add, binary_slot<k_add_>);
    add(Py_nb_inplace_subtract, binary_slot<k_sub_>);
    add(Py_nb_inplace_multiply, binary_slot<k_mul_>);
    add(Py_nb_inplace_true_divide, binary_slot<k_div_>);
    add(Py_nb_inplace_floor_divide, binary_slot<k_floor_divide_>);
    add(Py_nb_inplace_remainder, binary_slot<k_remainder_>);
    add(Py_nb_inplace_power, power_slot<k_pow_>);
    add(Py_nb_inplace_and, binary_slot<k_bitwise_and_>);
    add(Py_nb_inplace_or, binary_slot<k_bitwise_or_>);
    add(Py_nb_inplace_xor, binary_slot<k_bitwise_xor_>);
    add(Py_nb_inplace_lshift, binary_slot<k_bitwise_left_shift_>);
    add(Py_nb_inplace_rshift, binary_slot<k_bitwise_right_shift_>);
    add(Py_nb_negative, unary_slot<k_neg>);
    add(Py_nb_positive, positive);
    add(Py_nb_absolute, unary_slot<k_abs>);
    add(Py_nb_invert, invert_slot);
    add(Py_nb_bool, truth);
    add(Py_nb_int, to_int);
    add(Py_nb_float, to_float);
    add(Py_nb_index, to_index);
    add(Py_tp_richcompare, rich_compare);
    add(Py_tp_hash, identity_hash);
    add(Py_tp_iter, iterate);
    add(Py_mp_length, length);
    add(Py_mp_subscript, tensor_subscript);
    add(Py_mp_ass_subscript, tensor_ass_subscript);
}

}  // namespace flb
