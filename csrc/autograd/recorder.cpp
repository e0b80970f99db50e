// Modes in the place of operators, and the profiler's record: see Note [Interception].
#include "autograd/recorder.h"

#include <chrono>
#include <cstring>
#include <vector>

#include "autograd/node.h"
#include "bindings/signature.h"
#include "bindings/types.h"
#include "core/allocator.h"

namespace flb {

thread_local bool intercepted __attribute__((tls_model("initial-exec"))) = false;

namespace {

enum class SpanKind : uint8_t { Operator, Node, Program };

struct Span {
    SpanKind kind;
    ObjectRef name;
    int64_t begin, end;  // nanoseconds; end is 0 while it runs
    int64_t parent;      // index, or -1
    int64_t bytes;       // by which the memory in use grew
    ObjectRef shapes;    // tuple of the tensor arguments' sizes, or null
    std::string site;    // the user's line
};

struct Recorder {
    bool shapes, memory, stack;
    int64_t current = -1;
    std::vector<Span> spans;
};

// Plain pointers: a thread that ends inside a mode may not touch Python's objects any more.
thread_local std::vector<ObjectRef>* mode_stack = nullptr;
thread_local Recorder* recorder = nullptr;
thread_local PyObject* given_result = nullptr;  // borrowed: what the next operator is to have for its result

bool in_mode() { return mode_stack && !mode_stack->empty(); }
void update_flag() { intercepted = in_mode() || recorder || given_result; }

int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

int64_t memory_in_use() { return recorder->memory ? int64_t(memory_stats().in_use) : 0; }

int64_t begin_span(SpanKind kind, PyObject* name, ObjectRef shapes = ObjectRef()) {
    if (!recorder) return -1;
    Span span{kind, ObjectRef::borrow(name), 0, 0, recorder->current, -memory_in_use(), std::move(shapes),
              {}};
    if (recorder->stack) {
        Site site = capture_site();
        span.site = describe_site(site);
        release_site(site);
    }
    recorder->spans.push_back(std::move(span));
    recorder->current = int64_t(recorder->spans.size()) - 1;
    recorder->spans.back().begin = now();
    return recorder->current;
}

void end_span(int64_t index) {
    if (!recorder || index < 0 || index >= int64_t(recorder->spans.size())) return;
    Span& span = recorder->spans[size_t(index)];
    if (span.end) return;
    span.end = now();
    span.bytes += memory_in_use();
    recorder->current = span.parent;
}

struct OpenSpan {
    int64_t index;
    ~OpenSpan() { end_span(index); }
};

ObjectRef sizes_of(PyObject* o) {
    const Dims& sizes = reinterpret_cast<Tensor*>(o)->sizes;
    ObjectRef tuple = ObjectRef::steal(checked_object(PyTuple_New(sizes.size())));
    for (int i = 0; i < sizes.size(); ++i)
        PyTuple_SET_ITEM(tuple.get(), i, checked_object(PyLong_FromLongLong(sizes[i])));
    return tuple;
}

ObjectRef shapes_of(Op* op, PyObject** args) {
    ObjectRef list = ObjectRef::steal(checked_object(PyList_New(0)));
    const auto add = [&](PyObject* o) {
        if (is_tensor(o) && PyList_Append(list.get(), sizes_of(o).get()) < 0)
            throw Error(ErrorKind::Python, "");
    };
    for (size_t i = 0; i < op->params->size(); ++i) {
        PyObject* o = args[i];
        if (!o) continue;
        if (PyTuple_Check(o) || PyList_Check(o))
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) add(PySequence_Fast_GET_ITEM(o, k));
        else add(o);
    }
    return ObjectRef::steal(checked_object(PyList_AsTuple(list.get())));
}

// While a mode answers, it is off the stack.
struct ModeRuns {
    ObjectRef mode = std::move(mode_stack->back());
    ModeRuns() {
        mode_stack->pop_back();
        update_flag();
    }
    ~ModeRuns() {
        mode_stack->push_back(std::move(mode));
        update_flag();
    }
};

// mode(op, args, kwargs), without trailing arguments that are their defaults.
PyObject* ask_mode(Op* op, PyObject** args) {
    const std::vector<Param>& params = *op->params;
    const auto is_default = [&](int i) { return !args[i] || args[i] == params[size_t(i)].default_value; };
    int count = op->num_positional;
    while (count > 0 && is_default(count - 1)) --count;
    ObjectRef positional = ObjectRef::steal(checked_object(PyTuple_New(count)));
    for (int i = 0; i < count; ++i)
        PyTuple_SET_ITEM(positional.get(), i, Py_NewRef(args[i] ? args[i] : Py_None));
    ObjectRef keywords = ObjectRef::steal(checked_object(PyDict_New()));
    for (int i = op->num_positional; i < int(params.size()); ++i)
        if (!is_default(i) && PyDict_SetItem(keywords.get(), params[size_t(i)].name, args[i]) < 0)
            throw Error(ErrorKind::Python, "");
    const ModeRuns scope;
    return checked_object(PyObject_CallFunctionObjArgs(scope.mode.get(), reinterpret_cast<PyObject*>(op),
                                                       positional.get(), keywords.get(), nullptr));
}

// The operator's record on the tape with a result that is there already.
PyObject* record_given(Op* op, PyObject** args) {
    ObjectRef result = ObjectRef::borrow(given_result);
    given_result = nullptr;
    update_flag();
    Call call{op, args};
    if (modes.grad && op->rule && any_requires_grad(call)) record_node(call, args, result.get());
    return result.release();
}

// ---- Python's side ------------------------------------------------------------------------------------------------------

PyObject* push_mode(PyObject*, PyObject* mode) {
    if (!PyCallable_Check(mode)) return PyErr_Format(PyExc_TypeError, "a mode has to be callable");
    if (!mode_stack) mode_stack = new std::vector<ObjectRef>();
    mode_stack->push_back(ObjectRef::borrow(mode));
    update_flag();
    Py_RETURN_NONE;
}
PyObject* pop_mode(PyObject*, PyObject*) {
    if (!in_mode()) return PyErr_Format(PyExc_RuntimeError, "no mode is entered");
    ObjectRef mode = std::move(mode_stack->back());
    mode_stack->pop_back();
    update_flag();
    return mode.release();
}

// How many tensors the operator gives; 0 where its result cannot be given: it writes, views, or gives something else.
size_t tensors_given(const Op* op) {
    if (op->inplace || op->is_view) return 0;
    if (op->output_names) return op->output_names->size();
    const char* text = PyUnicode_AsUTF8(op->signature);
    const char* arrow = text ? std::strstr(text, "->") : nullptr;
    return arrow && std::strcmp(arrow, "-> Tensor") == 0;
}

PyObject* can_be_given(PyObject*, PyObject* op) {
    if (!PyObject_TypeCheck(op, OpType)) return PyErr_Format(PyExc_TypeError, "expected an operator");
    return PyBool_FromLong(tensors_given(reinterpret_cast<Op*>(op)) > 0);
}
PyObject* call_with_result(PyObject*, PyObject* args) {
    PyObject *function, *positional, *keywords, *result;
    if (!PyArg_ParseTuple(args, "O!O!O!O", OpType, &function, &PyTuple_Type, &positional, &PyDict_Type,
                          &keywords, &result))
        return nullptr;
    const Op* op = reinterpret_cast<Op*>(function);
    const size_t count = tensors_given(op);
    bool fits = count == 1 ? is_tensor(result)
                           : count && PyTuple_Check(result) && PyTuple_GET_SIZE(result) == Py_ssize_t(count);
    for (size_t i = 0; fits && i < count && count > 1; ++i)
        fits = is_tensor(PyTuple_GET_ITEM(result, Py_ssize_t(i)));
    if (!fits)
        return PyErr_Format(PyExc_RuntimeError,
                            "%s: only the tensors of an operator that writes and views nothing can be given",
                            op->cname);
    given_result = result;
    update_flag();
    PyObject* answer = PyObject_Call(function, positional, keywords);
    given_result = nullptr;
    update_flag();
    return answer;
}

PyObject* start_recording(PyObject*, PyObject* args) {
    int shapes, memory, stack;
    if (!PyArg_ParseTuple(args, "ppp", &shapes, &memory, &stack)) return nullptr;
    if (recorder) return PyErr_Format(PyExc_RuntimeError, "Profiler is already enabled on this thread");
    recorder = new Recorder{bool(shapes), bool(memory), bool(stack), -1, {}};
    update_flag();
    Py_RETURN_NONE;
}
PyObject* stop_recording(PyObject*, PyObject*) {
    if (!recorder)
        return PyErr_Format(PyExc_RuntimeError, "Can't disable Kineto profiler when it's not running");
    Recorder* done = recorder;
    const int64_t end = now();
    recorder = nullptr;
    update_flag();
    PyObject* result = guarded([&]() -> PyObject* {
        ObjectRef list = ObjectRef::steal(checked_object(PyList_New(0)));
        for (const Span& s : done->spans) {
            ObjectRef item = ObjectRef::steal(checked_object(
                Py_BuildValue("(iOLLLLOs)", int(s.kind), s.name.get(), (long long)s.begin,
                              (long long)(s.end ? s.end : end), (long long)s.parent, (long long)s.bytes,
                              s.shapes ? s.shapes.get() : Py_None, s.site.c_str())));
            if (PyList_Append(list.get(), item.get()) < 0) throw Error(ErrorKind::Python, "");
        }
        return list.release();
    });
    delete done;
    return result;
}
PyObject* begin_recorded(PyObject*, PyObject* name) {
    if (!PyUnicode_Check(name)) return PyErr_Format(PyExc_TypeError, "the name of a span has to be a str");
    return guarded([&]() -> PyObject* { return PyLong_FromLongLong(begin_span(SpanKind::Program, name)); });
}
PyObject* end_recorded(PyObject*, PyObject* index) {
    const long long i = PyLong_AsLongLong(index);
    if (i == -1 && PyErr_Occurred()) return nullptr;
    end_span(i);
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"_push_mode", push_mode, METH_O, "Enters a mode: mode(op, args, kwargs) answers for every operator."},
    {"_pop_mode", pop_mode, METH_NOARGS, "Leaves the innermost mode and returns it."},
    {"_call_with_result", call_with_result, METH_VARARGS,
     "(op, args, kwargs, result): records the operator as if it had been run and had given the result."},
    {"_result_can_be_given", can_be_given, METH_O, "Whether `_call_with_result` takes the operator."},
    {"_start_recording", start_recording, METH_VARARGS,
     "(shapes, memory, stack): from now on operators and nodes of this thread are written down."},
    {"_stop_recording", stop_recording, METH_NOARGS,
     "Ends the record: a list of (kind, name, begin, end, parent, bytes, shapes, site), times in "
     "nanoseconds."},
    {"_begin_recorded", begin_recorded, METH_O,
     "Begins a span of that name; its index, -1 where nobody listens."},
    {"_end_recorded", end_recorded, METH_O, "Ends the span of that index."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* invoke_intercepted(Op* op, PyObject** args) {
    if (given_result) return record_given(op, args);
    if (in_mode()) return ask_mode(op, args);
    const OpenSpan span{
        begin_span(SpanKind::Operator, op->name, recorder->shapes ? shapes_of(op, args) : ObjectRef())};
    return invoke_plainly(op, args);
}

void RecordedSpan::begin(const Node* node) {
    if (!recorder) return;
    ObjectRef name = ObjectRef::steal(checked_object(PyUnicode_FromString(node_name(node).c_str())));
    index_ = begin_span(SpanKind::Node, name.get());
}
void RecordedSpan::end() { end_span(index_); }

void init_interception(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
