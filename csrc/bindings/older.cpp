// Signatures that were PyTorch's once: old programs give numbers first, as in add_(alpha, other).
#include <string>

#include "bindings/op.h"
#include "bindings/signature.h"

namespace flb {

static void warn_of_older(Op* op, Op* older) {
    static bool warned = false;
    if (warned) return;
    warned = true;
    const auto shown = [](Op* o) {
        const std::string text = PyUnicode_AsUTF8(o->signature);
        return text.substr(0, text.find(" ->"));
    };
    warn(join("This overload of ", op->cname, " is deprecated:\n\t", shown(older),
              "\nThe numbers go by name now:\n\t", shown(op))
             .c_str());
}

PyObject* call_older(Op* op, PyObject* called, bool method, PyObject* const* args, size_t nargsf,
                     PyObject* kwnames) {
    PyObject* forms = op->older[method];
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(forms); ++k) {
        Op* older = reinterpret_cast<Op*>(PyTuple_GET_ITEM(forms, k));
        ParsedArgs parsed;
        if (!parse_arguments(older, args, PyVectorcall_NARGS(nargsf), kwnames, parsed, kSilently)) continue;
        if (parsed.overridden) return call_torch_function(called, args, nargsf, kwnames, older, parsed.slots);
        warn_of_older(op, older);
        PyObject* slots[kMaxParams];
        for (size_t i = 0; i < op->params->size(); ++i) {
            slots[i] = (*op->params)[i].default_value;
            for (size_t j = 0; j < older->params->size(); ++j)
                if ((*older->params)[j].name == (*op->params)[i].name) slots[i] = parsed.slots[j];
        }
        return op->composite ? call_composite(op, slots) : invoke(op, slots);
    }
    return nullptr;
}

// _older_signatures(op, functions, methods): tuples of operators of which only the signatures count.
PyObject* older_signatures(PyObject*, PyObject* args) {
    PyObject *target, *forms[2];
    if (!PyArg_ParseTuple(args, "OO!O!", &target, &PyTuple_Type, &forms[0], &PyTuple_Type, &forms[1]))
        return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, Py_TYPE(target) == OpType, "_older_signatures takes an operator");
        for (int which = 0; which < 2; ++which) {
            for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(forms[which]); ++k) {
                PyObject* form = PyTuple_GET_ITEM(forms[which], k);
                check_as(ErrorKind::Type, Py_TYPE(form) == OpType,
                         "_older_signatures takes tuples of operators");
                // What is written in place must be a tensor in every form.
                reinterpret_cast<Op*>(form)->inplace = reinterpret_cast<Op*>(target)->inplace;
            }
            Py_XSETREF(reinterpret_cast<Op*>(target)->older[which], Py_NewRef(forms[which]));
        }
        Py_RETURN_NONE;
    });
}

}  // namespace flb
