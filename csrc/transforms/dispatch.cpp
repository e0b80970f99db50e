// An operator with wrapped arguments: which level runs it, what its handler sees, and what becomes of the results.
#include <cstring>

#include "bindings/op.h"
#include "bindings/signature.h"
#include "bindings/types.h"
#include "transforms/handlers.h"

namespace flb {

Handlers handlers;

namespace {

bool holds_list(Kind kind) { return kind == Kind::TensorList || kind == Kind::OptTensors; }
bool holds_tensor(Kind kind) { return kind == Kind::Tensor || kind == Kind::Operand || holds_list(kind); }
Tensor& tensor_of(PyObject* o) { return *reinterpret_cast<Tensor*>(o); }
bool is_of(PyObject* o, const Level& level) {
    return o && is_tensor(o) && tensor_of(o).wrapped && tensor_of(o).wrapped->level == level.id;
}

// Calls f(slot) for every tensor among the arguments.
template <class F>
void each_tensor(const Op* op, PyObject* const* args, F&& f) {
    for (size_t i = 0; i < op->params->size(); ++i) {
        PyObject* o = args[i];
        if (!o || o == Py_None || !holds_tensor((*op->params)[i].kind)) continue;
        if (is_tensor(o)) {
            f(o, int(i));
        } else if (PyTuple_Check(o) || PyList_Check(o)) {
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
                if (is_tensor(PySequence_Fast_GET_ITEM(o, k))) f(PySequence_Fast_GET_ITEM(o, k), int(i));
        }
    }
}

Level* highest_level(const Op* op, PyObject* const* args) {
    Level* highest = nullptr;
    each_tensor(op, args, [&](PyObject* o, int) {
        const Wrapped* w = tensor_of(o).wrapped;
        if (!w || (highest && w->level <= highest->id)) return;
        if (Level* level = find_level(w->level)) highest = level;
    });
    return highest;
}

// While a handler runs, what it calls belongs to the levels below.
struct Below {
    bool grad = modes.grad;
    uint64_t limit = handlers_limit();
    uint64_t quiet = modes.quiet;
    explicit Below(const Level& level) {
        modes.grad = grad && level.grad_below;
        handlers_limit() = level.id;
        modes.quiet = 0;
    }
    ~Below() {
        modes.grad = grad;
        modes.quiet = quiet;
        handlers_limit() = limit;
    }
};

// ---- what a handler sees ---------------------------------------------------------------------------------------------

// A tensor as one level down sees it, and what the level knows beside: the batch dimension or the tangent, or None.
PyObject* value_below(PyObject* o, const Level& level) {
    return Py_NewRef(is_of(o, level) ? tensor_of(o).wrapped->value->object() : o);
}
PyObject* mark_of(PyObject* o, const Level& level) {
    if (!is_of(o, level)) return Py_NewRef(Py_None);
    const Wrapped& w = *tensor_of(o).wrapped;
    if (level.kind == LevelKind::Forward) return Py_NewRef(w.tangent ? w.tangent->object() : Py_None);
    return w.dim < 0 ? Py_NewRef(Py_None) : checked_object(PyLong_FromLong(w.dim));
}

using Part = PyObject* (*)(PyObject*, const Level&);
PyObject* parts(const Op* op, PyObject* const* args, const Level& level, Part part, bool values) {
    const size_t n = op->params->size();
    ObjectRef out = ObjectRef::steal(checked_object(PyTuple_New(Py_ssize_t(n))));
    for (size_t i = 0; i < n; ++i) {
        PyObject* o = args[i] ? args[i] : Py_None;
        PyObject* item;
        if (holds_list((*op->params)[i].kind) && (PyTuple_Check(o) || PyList_Check(o))) {
            const Py_ssize_t count = PySequence_Fast_GET_SIZE(o);
            item = checked_object(PyTuple_New(count));
            for (Py_ssize_t k = 0; k < count; ++k)
                PyTuple_SET_ITEM(item, k, part(PySequence_Fast_GET_ITEM(o, k), level));
        } else if (is_tensor(o) && holds_tensor((*op->params)[i].kind)) {
            item = part(o, level);
        } else {
            item = Py_NewRef(values ? o : Py_None);
        }
        PyTuple_SET_ITEM(out.get(), Py_ssize_t(i), item);
    }
    return out.release();
}

// ---- results ---------------------------------------------------------------------------------------------------------

PyObject* wrap_one(PyObject* value, PyObject* mark, const Level& level, const Op* op, PyObject* const* args) {
    if (!is_tensor(value)) return Py_NewRef(value);
    // An operator that hands back its argument (contiguous, to) does so here too.
    for (int i = 0; i < op->input_tensors; ++i)
        if (is_of(args[i], level) && tensor_of(args[i]).wrapped->value->object() == value)
            return Py_NewRef(args[i]);
    if (level.kind == LevelKind::Batch) {
        long dim = -1;
        if (mark != Py_None) {
            dim = PyLong_AsLong(mark);
            if (dim == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        }
        return wrap_batched(tensor_of(value), int(dim), level).release();
    }
    check_as(ErrorKind::Type, mark == Py_None || is_tensor(mark), "a tangent must be a tensor");
    return wrap_dual(tensor_of(value), mark == Py_None ? nullptr : &tensor_of(mark), level).release();
}

PyObject* wrap_all(PyObject* values, PyObject* marks, const Level& level, const Op* op,
                   PyObject* const* args) {
    if (!PyTuple_Check(values) && !PyList_Check(values)) return wrap_one(values, marks, level, op, args);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(values);
    const bool each = PyTuple_Check(marks) || PyList_Check(marks);
    check_as(ErrorKind::Type, !each || PySequence_Fast_GET_SIZE(marks) == n, "one mark for each result");
    ObjectRef out = ObjectRef::steal(
        checked_object(op->result_type ? PyStructSequence_New(op->result_type) : PyTuple_New(n)));
    for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject* item = wrap_one(PySequence_Fast_GET_ITEM(values, i),
                                  each ? PySequence_Fast_GET_ITEM(marks, i) : marks, level, op, args);
        if (op->result_type) PyStructSequence_SET_ITEM(out.get(), i, item);
        else PyTuple_SET_ITEM(out.get(), i, item);
    }
    return out.release();
}

// A result that shares memory with the argument it views is a view at this level too: of the same imaginary storage,
// with the same base and the same version.
void link_view(PyObject* result, Tensor& of) {
    if (PyTuple_Check(result)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(result); ++i) link_view(PyTuple_GET_ITEM(result, i), of);
        return;
    }
    if (!is_tensor(result) || result == of.object()) return;
    Tensor& t = tensor_of(result);
    if (!t.wrapped || t.wrapped->level != of.wrapped->level || t.base || of.inference) return;
    if (t.wrapped->value->storage != of.wrapped->value->storage) return;
    if (t.storage != of.storage) {
        retain(of.storage);
        release(std::exchange(t.storage, of.storage));
    }
    if (of.own_version && !t.own_version) {
        t.own_version = of.own_version;
        ++of.own_version->references;
    }
    Tensor* base = of.base ? of.base : &of;
    t.base = &tensor_of(Py_NewRef(base->object()));
    t.view_kind = of.base && of.view_kind != ViewKind::Plain ? of.view_kind
                  : grad_mode()                              ? ViewKind::Plain
                                                             : ViewKind::NoGrad;
    t.view_version = version_value_if_any(t);
}

// ---- the call --------------------------------------------------------------------------------------------------------

ObjectRef handle(const Level& level, Op* op, PyObject* const* args) {
    const bool batch = level.kind == LevelKind::Batch;
    ObjectRef values = ObjectRef::steal(parts(op, args, level, value_below, true));
    ObjectRef marks = ObjectRef::steal(parts(op, args, level, mark_of, false));
    ObjectRef number = ObjectRef::steal(checked_object(PyLong_FromUnsignedLongLong(level.id)));
    ObjectRef size = ObjectRef::steal(checked_object(PyLong_FromLongLong(level.size)));
    PyObject* given[] = {reinterpret_cast<PyObject*>(op), values.get(), marks.get(),
                         batch ? size.get() : number.get(), batch ? level.random : Py_None};
    PyObject* handler = batch ? handlers.batch : handlers.forward;
    check(handler, "no function transform is loaded");
    return ObjectRef::steal(checked_object(PyObject_Vectorcall(handler, given, batch ? 5 : 4, nullptr)));
}

// The handler's answer is a pair: results, and for each the batch dimension or the tangent.
PyObject* run_below(const Level& level, Op* op, PyObject* const* args) {
    ObjectRef pair;
    {
        const Below below(level);
        pair = handle(level, op, args);
    }
    check_as(ErrorKind::Type, PyTuple_Check(pair.get()) && PyTuple_GET_SIZE(pair.get()) == 2,
             "a transform's handler returns a pair");
    PyObject *values = PyTuple_GET_ITEM(pair.get(), 0), *marks = PyTuple_GET_ITEM(pair.get(), 1);
    ObjectRef result = ObjectRef::steal(wrap_all(values, marks, level, op, args));
    if (op->is_view && is_of(args[0], level)) link_view(result.get(), tensor_of(args[0]));
    return result.release();
}

// Whether `fresh` could be written to `tangent`: a batch cannot be, where the tangent is the same for all examples.
bool written_to(Tensor& tangent, PyObject* fresh) {
    static OpHandle copy("copy_");
    if (tangent.object() == fresh) return true;
    try {
        invoke_tensor(copy, {tangent.object(), fresh});
        return true;
    } catch (const Error& e) {
        if (!tensor_of(fresh).wrapped) throw;
        if (e.kind == ErrorKind::Python) PyErr_Clear();
        return false;
    }
}

void set_tangent(Tensor& t, PyObject* tangent) {
    Tensor* old = std::exchange(t.wrapped->tangent, &tensor_of(Py_NewRef(tangent)));
    if (old) Py_DECREF(old->object());
}

// The tangent of a tensor that was written in place. Views of it see the change, and so does its base.
void write_tangent(Tensor& t, PyObject* fresh, const Level& level) {
    static OpHandle copy("copy_"), zero("zero_"), new_empty_strided("new_empty_strided"),
        as_strided("as_strided");
    Wrapped& w = *t.wrapped;
    if (fresh == Py_None) {
        if (w.tangent) invoke_tensor(zero, {w.tangent->object()});
        return;
    }
    check_as(ErrorKind::Type, is_tensor(fresh), "a tangent must be a tensor");
    if (w.tangent && written_to(*w.tangent, fresh)) return;
    Tensor* base = t.base;
    if (!base || !is_of(base->object(), level) || base->dtype != t.dtype) return set_tangent(t, fresh);
    const auto window_on = [&](Tensor& whole) {
        ObjectRef sizes = ObjectRef::steal(size_object(t.sizes)),
                  strides = ObjectRef::steal(size_object(t.strides));
        ObjectRef offset =
            ObjectRef::steal(checked_object(PyLong_FromLongLong(t.offset - base->offset + whole.offset)));
        return invoke_tensor(as_strided, {whole.object(), sizes.get(), strides.get(), offset.get()});
    };
    if (!w.tangent && base->wrapped->tangent) {
        TensorRef window = window_on(*base->wrapped->tangent);
        if (written_to(*window, fresh)) return set_tangent(t, window.object());
    }
    // The base gets a tangent that what is written here can be written to, with what it had.
    ObjectRef sizes = ObjectRef::steal(size_object(base->sizes)),
              strides = ObjectRef::steal(size_object(base->strides));
    TensorRef whole = invoke_tensor(new_empty_strided, {fresh, sizes.get(), strides.get()});
    if (base->wrapped->tangent) invoke_tensor(copy, {whole.object(), base->wrapped->tangent->object()});
    else invoke_tensor(zero, {whole.object()});
    set_tangent(*base, whole.object());
    TensorRef window = window_on(*whole);
    invoke_tensor(copy, {window.object(), fresh});
    set_tangent(t, window.object());
}

void run_inplace_below(const Level& level, Op* op, PyObject* const* args) {
    const Below below(level);
    ObjectRef pair = handle(level, op, args);
    if (level.kind != LevelKind::Forward) return;
    check_as(ErrorKind::Type, PyTuple_Check(pair.get()) && PyTuple_GET_SIZE(pair.get()) == 2,
             "a transform's handler returns a pair");
    write_tangent(tensor_of(args[0]), PyTuple_GET_ITEM(pair.get(), 1), level);
}

// Arguments from below that require a gradient, wrapped, so that what is recorded at this level leads to this level only.
struct Lifted {
    PyObject* args[kMaxParams];
    std::vector<ObjectRef> held;
    Lifted(const Op* op, PyObject* const* given, const Level& level) {
        const size_t n = op->params->size();
        std::memcpy(args, given, sizeof(PyObject*) * n);
        const auto needs = [&](PyObject* o) {
            return is_tensor(o) && !is_of(o, level) && tensor_of(o).requires_grad();
        };
        for (size_t i = 0; i < n; ++i) {
            PyObject* o = args[i];
            if (!o || o == Py_None || !holds_tensor((*op->params)[i].kind)) continue;
            if (is_tensor(o)) {
                if (!needs(o)) continue;
                held.push_back(ObjectRef::steal(lift(tensor_of(o), level).release()));
                args[i] = held.back().get();
            } else if (PyTuple_Check(o) || PyList_Check(o)) {
                const Py_ssize_t count = PySequence_Fast_GET_SIZE(o);
                PyObject* list = checked_object(PyTuple_New(count));
                held.push_back(ObjectRef::steal(list));
                args[i] = list;
                for (Py_ssize_t k = 0; k < count; ++k) {
                    PyObject* item = PySequence_Fast_GET_ITEM(o, k);
                    PyTuple_SET_ITEM(list, k,
                                     needs(item) ? lift(tensor_of(item), level).release() : Py_NewRef(item));
                }
            }
        }
    }
};

bool any_requires_grad_at(const Op* op, PyObject* const* args, const Level& level) {
    const uint64_t differentiable = op->rule ? op->rule->differentiable : ~uint64_t(0);
    bool any = false;
    each_tensor(op, args, [&](PyObject* o, int param) {
        any |= is_of(o, level) && (differentiable >> param & 1) && param < op->input_tensors &&
               tensor_of(o).requires_grad();
    });
    return any;
}

// A tensor from below that is written with values of this level becomes one of this level itself: the object stays, what
// it was moves a level down.
void adopt(Tensor& t, const Level& level) {
    check(is_exact_tensor(t.object()) && !t.meta,
          "a tensor that is a leaf, or of a subclass, cannot be written in place inside a function "
          "transform. Write to a "
          "clone() of it");
    if (t.base && !is_of(t.base->object(), level)) adopt(*t.base, level);
    TensorRef below = window_copy(t);
    std::swap(below->grad_fn, t.grad_fn);
    std::swap(below->wrapped, t.wrapped);
    std::swap(below->requires_grad_flag, t.requires_grad_flag);
    below->output_nr = t.output_nr;
    below->view_kind = t.view_kind;
    below->view_version = t.view_version;
    if (t.base) below->base = &tensor_of(Py_NewRef(t.base->wrapped->value->object()));
    t.view_kind = ViewKind::Plain;
    t.view_version = version_value_if_any(t);
    t.wrapped = new Wrapped{level.id, -1, &tensor_of(below.release()), nullptr};
}

// A temporary that nobody else can see may become a batch: what is written to it differs between examples.
bool only_here(const Tensor& t) {
    return is_exact_tensor(const_cast<Tensor&>(t).object()) && Py_REFCNT(&t) == 1 &&
           t.storage->references == 1 && !t.base && !t.meta && !t.weakrefs && !t.dict;
}
void become_batch(Tensor& t, const Level& level) {
    static OpHandle expand("expand"), clone_op("clone");
    if (!is_of(t.object(), level)) adopt(t, level);
    Dims sizes = t.sizes;
    sizes.insert(0, level.size);
    ObjectRef py_sizes = ObjectRef::steal(size_object(sizes));
    TensorRef all;
    {
        const Below below(level);
        all = invoke_tensor(expand, {t.wrapped->value->object(), py_sizes.get()});
        PyObject* contiguous = memory_format_object(MemoryFormat::Contiguous);
        all = invoke_tensor(clone_op, {all.object(), contiguous});
    }
    TensorRef batch = wrap_batched(*all, 0, level);
    std::swap(t.storage, batch->storage);
    std::swap(t.strides, batch->strides);
    std::swap(t.wrapped, batch->wrapped);
    t.offset = batch->offset;
    t.contiguous = batch->contiguous;
}

void prepare_written(const Level& level, const Op* op, PyObject** args) {
    if (is_of(args[0], level)) {
        if (level.kind == LevelKind::Forward || tensor_of(args[0]).is_batched()) return;
    }
    if (level.kind == LevelKind::Batch && only_here(tensor_of(args[0]))) {
        bool batch = false;
        each_tensor(op, args,
                    [&](PyObject* o, int) { batch |= is_of(o, level) && tensor_of(o).is_batched(); });
        if (batch) return become_batch(tensor_of(args[0]), level);
    }
    if (level.kind == LevelKind::Batch)
        each_tensor(op, args, [&](PyObject* o, int param) {
            check(param == 0 || !is_of(o, level) || !tensor_of(o).is_batched(), "vmap: ", op->cname,
                  "(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
                  "that has more "
                  "elements than `self`. This happened due to `other` being vmapped over but `self` not "
                  "being vmapped "
                  "over in a vmap. Please try to use out-of-place operators instead of ",
                  op->cname,
                  ", or, if `self` is made inside of vmap by a factory (torch.zeros), make it from a batched "
                  "tensor "
                  "(x.new_zeros)");
        });
    if (!is_of(args[0], level)) adopt(tensor_of(args[0]), level);
}

ObjectRef run_at(const Level& level, Op* op, PyObject** given) {
    const bool out_given = op->out_param >= 0 && given[op->out_param] && given[op->out_param] != Py_None;
    check(!out_given, op->cname,
          "(): out= is not supported inside function transforms (vmap, jvp). Use the result");
    if (op->inplace) prepare_written(level, op, given);
    const bool record = modes.grad && level.record && (op->rule || op->why_not_differentiable) &&
                        any_requires_grad_at(op, given, level);
    if (!record) {
        if (op->inplace) {
            Tensor& written = tensor_of(given[0]);
            check_inplace(written, false);
            run_inplace_below(level, op, given);
            bump_version(written, op->cname);
            return ObjectRef::borrow(given[0]);
        }
        return ObjectRef::steal(run_below(level, op, given));
    }
    Lifted lifted(op, given, level);
    const Call call{op, lifted.args};
    if (op->inplace) {
        Tensor& written = tensor_of(given[0]);
        check_inplace(written, true);
        PyObject* adjusted[kMaxParams];
        std::memcpy(adjusted, lifted.args, sizeof(PyObject*) * op->params->size());
        ObjectRef original;
        if (rule_saves_input(op, call, 0)) {
            static OpHandle clone_op("clone");
            PyObject* one[kMaxParams] = {given[0], Py_None};
            original = ObjectRef::steal(run_below(level, clone_op.get(), one));
            adjusted[0] = original.get();
        }
        run_inplace_below(level, op, lifted.args);
        bump_version(written, op->cname);
        record_node(call, adjusted, given[0]);
        return ObjectRef::borrow(given[0]);
    }
    ObjectRef result = ObjectRef::steal(run_below(level, op, lifted.args));
    record_node(call, lifted.args, result.get());
    return result;
}

bool draws(const Op* op) {
    for (const Param& p : *op->params)
        if (p.kind == Kind::Generator) return true;
    return false;
}

}  // namespace

PyObject* invoke_transformed(Op* op, PyObject** args) {
    Level* level = highest_level(op, args);
    if (draws(op)) {
        // The innermost vmap decides about random numbers, whatever the arguments are.
        Level* batch = innermost_batch(handlers_limit());
        if (batch && (!level || batch->id > level->id)) level = batch;
    }
    if (!level) return nullptr;
    const Level here = *level;  // handlers enter levels, which moves the others
    return run_at(here, op, args).release();
}

}  // namespace flb
