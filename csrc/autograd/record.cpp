// Recording: derivative rules are read from the operators' records here, nodes are made by operator calls, and a
// node's apply calls its rule.
#include <cstring>

#include "autograd/node.h"
#include "bindings/op.h"
#include "bindings/signature.h"
#include "bindings/types.h"

namespace flb {

namespace {

bool holds_tensor(Kind kind) {
    return kind == Kind::Tensor || kind == Kind::Operand || kind == Kind::TensorList ||
           kind == Kind::OptTensors;
}
bool holds_list(Kind kind) { return kind == Kind::TensorList || kind == Kind::OptTensors; }

// ---- reading the record ------------------------------------------------------------------------------------------------

int find_param(const Op* op, const std::string& name) {
    for (int i = 0; i < int(op->params->size()); ++i)
        if (name == PyUnicode_AsUTF8((*op->params)[i].name)) return i;
    return -1;
}

std::string trimmed(const std::string& s) {
    const size_t b = s.find_first_not_of(" \n"), e = s.find_last_not_of(" \n");
    return b == std::string::npos ? "" : s.substr(b, e - b + 1);
}

bool ends_with(const std::string& s, const char* suffix, std::string* stem) {
    const size_t n = std::strlen(suffix);
    if (s.size() <= n || s.compare(s.size() - n, n, suffix) != 0) return false;
    *stem = s.substr(0, s.size() - n);
    return true;
}

using Source = Rule::SavedSource;

// What a rule's parameter `name` stands for: see Note [Rule arguments].
Source source_of(const Op* op, const std::string& name, const char* where) {
    const int param = find_param(op, name);
    if (param >= 0) return {Source::Param, param, 0};
    if (name == "result") return {Source::Output, 0, 0};
    if (name == "results") return {Source::AllOutputs, 0, 0};
    if (op->output_names)
        for (int i = 0; i < int(op->output_names->size()); ++i)
            if (name == PyUnicode_AsUTF8((*op->output_names)[i])) return {Source::Output, i, 0};
    std::string stem;
    if (ends_with(name, "_shape", &stem) && find_param(op, stem) >= 0)
        return {Source::Shape, find_param(op, stem), 0};
    if (ends_with(name, "_geometry", &stem) && find_param(op, stem) >= 0)
        return {Source::Geometry, find_param(op, stem), 0};
    if (ends_with(name, "_dtype", &stem) && find_param(op, stem) >= 0)
        return {Source::DType, find_param(op, stem), 0};
    fail(ErrorKind::Value, where, "a derivative asks for '", name,
         "', which is neither a parameter nor an output");
}

// "mul" -> "MulBackward0", "log_softmax" -> "LogSoftmaxBackward0", "add_" -> "AddBackward0".
std::string default_node_name(const char* op_name) {
    std::string name;
    bool upper = true;
    for (const char* c = op_name; *c; ++c) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        name += upper ? char(std::toupper(*c)) : *c;
        upper = false;
    }
    return name + "Backward0";
}

void add_entry(Rule* rule, const std::string& key, PyObject* function, const char* where) {
    const Op* op = rule->op;
    RuleEntry entry{function, {}, {}, false};
    size_t start = 0;
    while (start <= key.size()) {
        size_t comma = key.find(',', start);
        if (comma == std::string::npos) comma = key.size();
        const std::string name = trimmed(key.substr(start, comma - start));
        start = comma + 1;
        const int param = find_param(op, name);
        check_as(ErrorKind::Value, param >= 0, where, "the derivative '", key,
                 "' is for no parameter of the signature");
        check_as(ErrorKind::Value, holds_tensor((*op->params)[param].kind), where, "'", name,
                 "' cannot be a tensor");
        entry.targets.push_back(param);
    }
    if (function == Py_None) {
        for (int t : entry.targets) rule->differentiable &= ~(uint64_t(1) << t);
        return;
    }
    entry.tuple_result = entry.targets.size() > 1;
    PyObject* code = PyObject_GetAttrString(function, "__code__");
    check_as(ErrorKind::Value, code, where, "the derivative of '", key,
             "' must be a Python function or None");
    ObjectRef held = ObjectRef::steal(code);
    ObjectRef names = ObjectRef::steal(checked_object(PyObject_GetAttrString(code, "co_varnames")));
    const int count = reinterpret_cast<PyCodeObject*>(code)->co_argcount;
    for (int i = 0; i < count; ++i) {
        const std::string name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names.get(), i));
        if (name == "grad") {
            entry.arguments.push_back(Rule::kGrad);
        } else if (name == "grads") {
            entry.arguments.push_back(Rule::kGrads);
        } else if (name == "needs") {
            entry.arguments.push_back(Rule::kNeeds);
        } else {
            Source source = source_of(op, name, where);
            int slot = -1;
            for (int s = 0; s < int(rule->saved.size()); ++s)
                if (rule->saved[s].kind == source.kind && rule->saved[s].index == source.index) slot = s;
            if (slot < 0) {
                slot = int(rule->saved.size());
                rule->saved.push_back(source);
            }
            rule->saved[slot].users |= uint64_t(1) << rule->entries.size();
            entry.arguments.push_back(slot);
        }
    }
    Py_INCREF(function);
    rule->entries.push_back(std::move(entry));
}

}  // namespace

Rule* build_rule(Op* op, PyObject* vjp, const std::string& node_name) {
    const std::string where = join("record of ", op->cname, ": ");
    check_as(ErrorKind::Type, PyDict_Check(vjp), where, "vjp must be a dict of functions by parameter name");
    Rule* rule = new Rule();
    rule->op = op;
    rule->node_name = node_name.empty() ? default_node_name(op->cname) : node_name;
    rule->differentiable = ~uint64_t(0);
    rule->list_param = -1;
    for (int i = 0; i < op->input_tensors; ++i) {
        const Kind kind = (*op->params)[i].kind;
        if (!holds_tensor(kind)) continue;
        if (holds_list(kind)) {
            check_as(ErrorKind::Value, rule->list_param < 0, where,
                     "at most one list of tensors can be differentiated");
            rule->list_param = i;
        }
        rule->edge_params.push_back(i);
    }
    PyObject *key, *function;
    Py_ssize_t position = 0;
    while (PyDict_Next(vjp, &position, &key, &function)) {
        check_as(ErrorKind::Type, PyUnicode_Check(key), where, "vjp's keys are parameter names");
        add_entry(rule, PyUnicode_AsUTF8(key), function, where.c_str());
    }
    check_as(ErrorKind::Value, rule->entries.size() <= 64, where, "too many derivatives");
    for (const Source& s : rule->saved) rule->saves_all_outputs |= s.kind == Source::AllOutputs;
    return rule;
}

// ---- does this call need recording? ------------------------------------------------------------------------------------

bool any_requires_grad(const Call& call) {
    const Op* op = call.op;
    const std::vector<Param>& params = *op->params;
    const uint64_t differentiable = op->rule ? op->rule->differentiable : ~uint64_t(0);
    for (int i = 0; i < op->input_tensors; ++i) {
        PyObject* o = call.args[i];
        if (!o || o == Py_None) continue;
        if (is_tensor(o)) {
            if (reinterpret_cast<Tensor*>(o)->requires_grad() && (differentiable >> i & 1)) return true;
        } else if (holds_list(params[i].kind) && (PyTuple_Check(o) || PyList_Check(o))) {
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) {
                PyObject* item = PySequence_Fast_GET_ITEM(o, k);
                if (is_tensor(item) && reinterpret_cast<Tensor*>(item)->requires_grad() &&
                    (differentiable >> i & 1))
                    return true;
            }
        }
    }
    return false;
}

namespace {

// Bit e: the call needs entry e, because one of its targets requires grad.
uint64_t active_entries(const Rule* rule, PyObject* const* args) {
    uint64_t active = 0;
    for (size_t e = 0; e < rule->entries.size(); ++e) {
        for (int param : rule->entries[e].targets) {
            PyObject* o = args[param];
            bool needed = false;
            if (o && is_tensor(o)) {
                needed = reinterpret_cast<Tensor*>(o)->requires_grad();
            } else if (o && param == rule->list_param) {
                for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) {
                    PyObject* item = PySequence_Fast_GET_ITEM(o, k);
                    needed |= is_tensor(item) && reinterpret_cast<Tensor*>(item)->requires_grad();
                }
            }
            if (needed) {
                active |= uint64_t(1) << e;
                break;
            }
        }
    }
    return active;
}

}  // namespace

bool rule_saves_input(const Op* op, const Call& call, int param) {
    if (!op->rule) return false;
    const uint64_t active = active_entries(op->rule, call.args);
    for (const Source& s : op->rule->saved)
        if (s.kind == Source::Param && s.index == param && (s.users & active)) return true;
    return false;
}

// ---- applying a rule -----------------------------------------------------------------------------------------------------

namespace {

void apply_rule(Node* n, TensorRef* in, TensorRef* out);
void apply_not_written(Node* n, TensorRef* in, TensorRef* out);
const NodeKind kRuleNode = {nullptr, nullptr, apply_rule, nullptr, nullptr};
const NodeKind kNotWritten = {"NotImplemented", "NotImplemented", apply_not_written, nullptr, nullptr};

[[noreturn]] void fail_not_written(const char* op_name, const char* param) {
    if (param)
        fail(ErrorKind::NotImplemented, "the derivative for '", param, "' of '", op_name,
             "' is not implemented");
    fail(ErrorKind::NotImplemented, "derivative for ", op_name, " is not implemented");
}

void apply_not_written(Node* n, TensorRef*, TensorRef*) {
    fail_not_written(reinterpret_cast<Op*>(n->payload)->cname, nullptr);
}

// The index of a parameter's first edge.
int edge_of(const Rule* rule, int param, int list_length) {
    int edge = 0;
    for (int p : rule->edge_params) {
        if (p == param) return edge;
        edge += p == rule->list_param ? list_length : 1;
    }
    return -1;
}

TensorRef gradient_from(PyObject* o, const Op* op) {
    if (o == Py_None) return TensorRef();
    check_as(ErrorKind::Type, is_tensor(o), "the derivative rule of ", op->cname, " returned ",
             Py_TYPE(o)->tp_name, " where it should return a Tensor or None");
    return TensorRef::borrow(o);
}

// The arguments a rule function receives; owns them until the call is over.
struct Arguments {
    PyObject* values[kMaxParams + 1];
    int count = 1;  // values[0] is scratch space for the callee
    ~Arguments() {
        for (int i = 1; i < count; ++i) Py_DECREF(values[i]);
    }
    void push(PyObject* owned) { values[count++] = checked_object(owned); }
};

PyObject* all_outputs(Node* n, int first_slot) {
    ObjectRef all = ObjectRef::steal(checked_object(PyTuple_New(n->num_outputs)));
    for (int i = 0; i < n->num_outputs; ++i) {
        PyObject* value = unpack_saved(n, first_slot + i);
        if (!value) {
            value = Py_None;
            Py_INCREF(value);
        }
        PyTuple_SET_ITEM(all.get(), i, value);
    }
    return all.release();
}

PyObject* needs_tuple(Node* n, const RuleEntry& entry, const int* first_edge, int list_length) {
    const Rule* rule = n->rule;
    ObjectRef needs = ObjectRef::steal(checked_object(PyTuple_New(Py_ssize_t(entry.targets.size()))));
    for (size_t t = 0; t < entry.targets.size(); ++t) {
        PyObject* value;
        if (entry.targets[t] == rule->list_param) {
            value = checked_object(PyTuple_New(list_length));
            for (int k = 0; k < list_length; ++k)
                PyTuple_SET_ITEM(value, k, PyBool_FromLong(n->edges[first_edge[t] + k].node != nullptr));
        } else {
            value = PyBool_FromLong(n->edges[first_edge[t]].node != nullptr);
        }
        PyTuple_SET_ITEM(needs.get(), Py_ssize_t(t), value);
    }
    return needs.release();
}

void take_list(PyObject* given, const Rule* rule, int list_length, Node* n, int first_edge, TensorRef* out) {
    if (given == Py_None) return;
    check_as(ErrorKind::Type, PyTuple_Check(given) || PyList_Check(given), "the derivative rule of ",
             rule->op->cname, " must return a sequence for a list of tensors");
    check(PySequence_Fast_GET_SIZE(given) == list_length, "the derivative rule of ", rule->op->cname,
          " returned ", PySequence_Fast_GET_SIZE(given), " gradients for ", list_length, " tensors");
    for (int k = 0; k < list_length; ++k)
        if (n->edges[first_edge + k].node)
            out[first_edge + k] = gradient_from(PySequence_Fast_GET_ITEM(given, k), rule->op);
}

void apply_rule(Node* n, TensorRef* in, TensorRef* out) {
    const Rule* rule = n->rule;
    const int list_length = rule->list_param < 0 ? 0 : n->num_edges - int(rule->edge_params.size()) + 1;
    bool any = false;
    for (int i = 0; i < n->num_outputs; ++i) any |= bool(in[i]);
    if (!any) return;
    uint64_t done = 0;  // parameters whose gradient some entry gives
    for (const RuleEntry& entry : rule->entries) {
        int first_edge[kMaxParams];
        bool wanted = false;
        for (size_t t = 0; t < entry.targets.size(); ++t) {
            const int param = entry.targets[t];
            done |= uint64_t(1) << param;
            first_edge[t] = edge_of(rule, param, list_length);
            const int length = param == rule->list_param ? list_length : 1;
            for (int k = 0; k < length; ++k) wanted |= n->edges[first_edge[t] + k].node != nullptr;
        }
        if (!wanted) continue;
        Arguments arguments;
        for (int code : entry.arguments) {
            if (code >= 0) {
                if (rule->saved[code].kind == Source::AllOutputs) {
                    arguments.push(all_outputs(n, int(rule->saved.size())));
                    continue;
                }
                PyObject* value = unpack_saved(n, code);
                if (!value) {
                    value = Py_None;
                    Py_INCREF(value);
                }
                arguments.push(value);
            } else if (code == Rule::kGrad) {
                arguments.push(in[0] ? TensorRef(in[0]).release() : zeros_for(n->outputs[0]).release());
            } else if (code == Rule::kGrads) {
                PyObject* grads = checked_object(PyTuple_New(n->num_outputs));
                for (int i = 0; i < n->num_outputs; ++i) {
                    PyObject* g = in[i] ? in[i].object() : Py_None;
                    Py_INCREF(g);
                    PyTuple_SET_ITEM(grads, i, g);
                }
                arguments.push(grads);
            } else {
                arguments.push(needs_tuple(n, entry, first_edge, list_length));
            }
        }
        ObjectRef result = ObjectRef::steal(checked_object(
            PyObject_Vectorcall(entry.function, arguments.values + 1,
                                size_t(arguments.count - 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr)));
        if (!entry.tuple_result) {
            if (entry.targets[0] == rule->list_param)
                take_list(result.get(), rule, list_length, n, first_edge[0], out);
            else out[first_edge[0]] = gradient_from(result.get(), rule->op);
            continue;
        }
        if (result.get() == Py_None) continue;
        check_as(ErrorKind::Type, PyTuple_Check(result.get()) || PyList_Check(result.get()),
                 "the derivative rule of ", rule->op->cname, " must return a tuple of ", entry.targets.size(),
                 " gradients");
        check(size_t(PySequence_Fast_GET_SIZE(result.get())) == entry.targets.size(),
              "the derivative rule of ", rule->op->cname, " returned ",
              PySequence_Fast_GET_SIZE(result.get()), " gradients where ", entry.targets.size(),
              " are expected");
        for (size_t t = 0; t < entry.targets.size(); ++t) {
            PyObject* item = PySequence_Fast_GET_ITEM(result.get(), Py_ssize_t(t));
            if (entry.targets[t] == rule->list_param)
                take_list(item, rule, list_length, n, first_edge[t], out);
            else if (n->edges[first_edge[t]].node) out[first_edge[t]] = gradient_from(item, rule->op);
        }
    }
    int edge = 0;
    for (int param : rule->edge_params) {
        const int length = param == rule->list_param ? list_length : 1;
        for (int k = 0; k < length; ++k, ++edge)
            if (n->edges[edge].node && !(done >> param & 1))
                fail_not_written(rule->op->cname, PyUnicode_AsUTF8((*rule->op->params)[param].name));
    }
}

// ---- recording -----------------------------------------------------------------------------------------------------------

struct Outputs {
    PyObject* const* items;
    int count;
};

Outputs outputs_of(PyObject** result) {
    if (PyTuple_Check(*result)) return {&PyTuple_GET_ITEM(*result, 0), int(PyTuple_GET_SIZE(*result))};
    if (PyList_Check(*result)) return {PySequence_Fast_ITEMS(*result), int(PyList_GET_SIZE(*result))};
    return {result, 1};
}

bool is_differentiable_tensor(PyObject* o) {
    return o && is_tensor(o) && is_differentiable(reinterpret_cast<Tensor*>(o)->dtype);
}

Edge edge_for(PyObject* o, bool differentiable) {
    if (!differentiable || !o || !is_tensor(o)) return {};
    return gradient_edge(*reinterpret_cast<Tensor*>(o));
}

void connect(Node* n, const std::vector<int>& edge_params, int list_param, uint64_t differentiable,
             PyObject* const* args) {
    int edge = 0;
    for (int param : edge_params) {
        const bool wanted = differentiable >> param & 1;
        PyObject* o = args[param];
        if (param == list_param) {
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
                n->edges[edge++] = edge_for(PySequence_Fast_GET_ITEM(o, k), wanted);
        } else {
            n->edges[edge++] = edge_for(o, wanted);
        }
    }
}

void save_all(Node* n, const Rule* rule, const Call& call, PyObject** args, Outputs outputs,
              uint64_t active) {
    Tensor* written = call.op->inplace ? &call.tensor(0) : nullptr;
    const int count = int(rule->saved.size());
    for (int s = 0; s < count; ++s) {
        const Source& source = rule->saved[s];
        if (!(source.users & active)) continue;
        PyObject* value =
            source.kind <= Source::Param || source.kind >= Source::Shape ? args[source.index] : nullptr;
        switch (source.kind) {
            case Source::Param:
                if (!value) break;
                save_value(n, s, value);
                // Another argument that shares memory with the operand was overwritten before it could be kept.
                if (written && is_tensor(value) && !n->saved[s].hooked &&
                    &version_of(*reinterpret_cast<Tensor*>(value)) == &version_of(*written))
                    --n->saved[s].version;
                break;
            case Source::Output:
                if (source.index < outputs.count && is_tensor(outputs.items[source.index]))
                    save_output(n, s, *reinterpret_cast<Tensor*>(outputs.items[source.index]), source.index);
                else if (source.index < outputs.count) save_value(n, s, outputs.items[source.index]);
                break;
            case Source::AllOutputs:
                for (int i = 0; i < outputs.count; ++i)
                    if (is_tensor(outputs.items[i]))
                        save_output(n, count + i, *reinterpret_cast<Tensor*>(outputs.items[i]), i);
                break;
            case Source::Shape:
                if (value && is_tensor(value))
                    n->saved[s].value = size_object(reinterpret_cast<Tensor*>(value)->sizes);
                else if (value && (PyTuple_Check(value) || PyList_Check(value))) {
                    PyObject* shapes = checked_object(PyTuple_New(PySequence_Fast_GET_SIZE(value)));
                    n->saved[s].value = shapes;
                    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(shapes); ++k) {
                        PyObject* item = PySequence_Fast_GET_ITEM(value, k);
                        PyObject* shape =
                            is_tensor(item) ? size_object(reinterpret_cast<Tensor*>(item)->sizes) : Py_None;
                        if (shape == Py_None) Py_INCREF(shape);
                        PyTuple_SET_ITEM(shapes, k, checked_object(shape));
                    }
                }
                break;
            case Source::Geometry:
                if (value && is_tensor(value)) {
                    const Tensor& t = *reinterpret_cast<Tensor*>(value);
                    n->saved[s].value =
                        checked_object(Py_BuildValue("(NNL)", size_object(t.sizes), size_object(t.strides),
                                                     static_cast<long long>(t.offset)));
                }
                break;
            case Source::DType:
                if (value && is_tensor(value)) {
                    n->saved[s].value = dtype_object(reinterpret_cast<Tensor*>(value)->dtype);
                    Py_INCREF(n->saved[s].value);
                }
                break;
        }
    }
}

}  // namespace

void record_node(const Call& call, PyObject** args, PyObject* result) {
    Op* op = call.op;
    const Rule* rule = op->rule;
    if (!rule && std::strcmp(op->why_not_differentiable, "not differentiable") == 0) return;
    Outputs outputs = outputs_of(&result);
    bool differentiable = false;
    for (int i = 0; i < outputs.count; ++i) differentiable |= is_differentiable_tensor(outputs.items[i]);
    if (!differentiable) return;
    // A view that became another window of its base: its history is made anew when somebody looks, as after any write.
    if (op->inplace && op->is_view && call.tensor(0).base) return;
    // An operator may return its input as it is (contiguous, to): nothing happened.
    if (!op->inplace)
        for (int i = 0; i < op->input_tensors; ++i)
            if (result == call.args[i]) return;

    Ref<Node> held;
    Node* n;
    if (rule) {
        const uint64_t active = active_entries(rule, call.args);
        int num_edges = int(rule->edge_params.size());
        if (rule->list_param >= 0)
            num_edges += int(PySequence_Fast_GET_SIZE(call.args[rule->list_param])) - 1;
        const int num_saved = int(rule->saved.size()) + (rule->saves_all_outputs ? outputs.count : 0);
        n = new_node(&kRuleNode, num_edges, num_saved, outputs.count);
        held = Ref<Node>::steal(n);
        n->rule = rule;
        n->site = capture_site();
        connect(n, rule->edge_params, rule->list_param, rule->differentiable, call.args);
        if (op->inplace && args[0] != call.args[0]) {
            // The copy of the operand stands for it as it was, history included.
            Tensor& copy = *reinterpret_cast<Tensor*>(args[0]);
            const Edge edge = gradient_edge(call.tensor(0));
            if (edge.node) {
                set_history(copy, edge.node, int(edge.input_nr));
                Py_DECREF(node_object(edge.node));
            }
        }
        save_all(n, rule, call, args, outputs, active);
    } else {
        std::vector<int> edge_params;
        for (int i = 0; i < op->input_tensors; ++i)
            if (call.args[i] && is_tensor(call.args[i])) edge_params.push_back(i);
        n = new_node(&kNotWritten, int(edge_params.size()), 0, outputs.count);
        held = Ref<Node>::steal(n);
        Py_INCREF(reinterpret_cast<PyObject*>(op));
        n->payload = reinterpret_cast<PyObject*>(op);
        n->site = capture_site();
        connect(n, edge_params, -1, ~uint64_t(0), call.args);
    }
    if (__builtin_expect(modes.anomaly, 0)) keep_traceback(n);
    for (int i = 0; i < outputs.count; ++i) {
        if (!is_tensor(outputs.items[i])) continue;
        Tensor& t = *reinterpret_cast<Tensor*>(outputs.items[i]);
        set_output_meta(n, i, t);
        if (!is_differentiable(t.dtype)) continue;
        if (op->inplace && outputs.items[i] == call.args[0]) {
            rebase_history(t, n, i);
        } else {
            set_history(t, n, i);
            if (outputs.items != &result && t.base) mark_multi_output_view(t);
        }
    }
}

void note_out_written(PyObject* out, Op* op) {
    if (is_tensor(out)) {
        bump_version(*reinterpret_cast<Tensor*>(out), op->cname);
    } else if (PyTuple_Check(out) || PyList_Check(out)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(out); ++i) {
            PyObject* item = PySequence_Fast_GET_ITEM(out, i);
            if (is_tensor(item)) bump_version(*reinterpret_cast<Tensor*>(item), op->cname);
        }
    }
}

}  // namespace flb
