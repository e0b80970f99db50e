// Signatures: from the record's text to parameters, and from a call's arguments to slots.
#pragma once
#include <string>

#include "bindings/op.h"

namespace flb {

constexpr int kMaxParams = 32;

// Note [Arguments hold still]: reading an argument must not run the caller's code while an operator works, for that
// code could change or free the operands. So parsing replaces what could: lists by tuples, objects with __index__ or
// __float__ by plain numbers. `held` owns the replacements.
struct ParsedArgs {
    ParsedArgs() = default;
    ParsedArgs(const ParsedArgs&) = delete;
    ParsedArgs& operator=(const ParsedArgs&) = delete;
    ~ParsedArgs() {
        for (int i = 0; i < held_count; ++i) Py_DECREF(held[i]);
    }
    PyObject* hold(PyObject* fresh) {
        if (!fresh) throw Error(ErrorKind::Python, "");
        return held[held_count++] = fresh;
    }
    PyObject* slots[kMaxParams];  // one per parameter, borrowed
    PyObject* held[2 * kMaxParams + 1];
    int held_count = 0;
    bool overridden = false;  // some argument's type has its own __torch_function__
};

void parse_signature(Op* op, const char* text);
// A named tuple of results, torch.return_types.NAME.
PyTypeObject* make_result_type(const std::string& name, const std::vector<PyObject*>& field_names);
extern std::string* const kSilently;
// Fills parsed.slots. On a mismatch: raises TypeError, or with `why` given returns false and says why there
// (kSilently: says nothing).
bool parse_arguments(Op* op, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, ParsedArgs& parsed,
                     std::string* why);
[[noreturn]] void raise_no_overload(PyObject* name, PyObject* ops, PyObject* const* args, Py_ssize_t nargs,
                                    PyObject* kwnames);

// op.cpp
PyObject* call_composite(Op* op, PyObject** slots);

// older.cpp
// The call as one of the operator's older signatures, for what fits no other; null if it fits none of them either.
[[gnu::cold]] PyObject* call_older(Op* op, PyObject* called, bool method, PyObject* const* args,
                                   size_t nargsf, PyObject* kwnames);
PyObject* older_signatures(PyObject*, PyObject* args);  // _C._older_signatures

// torch_function.cpp
bool has_torch_function(PyObject* o);  // of a tensor subclass or any other object
PyObject* call_torch_function(PyObject* function, PyObject* const* args, size_t nargsf, PyObject* kwnames,
                              Op* op, PyObject** slots);
PyObject* subclass_getitem(PyObject* self, PyObject* key);
PyObject* subclass_setitem(PyObject* self, PyObject* key, PyObject* value);

// autograd/record.cpp
Rule* build_rule(Op* op, PyObject* vjp, const std::string& node_name);
bool any_requires_grad(const Call& call);
bool rule_saves_input(const Op* op, const Call& call, int param);
void record_node(const Call& call, PyObject** args, PyObject* result);
void note_out_written(PyObject* out, Op* op);

}  // namespace flb
