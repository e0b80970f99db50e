#include "bindings/signature.h"

#include <cstring>

#include "bindings/types.h"

namespace flb {

// ---- the record's text ------------------------------------------------------------------------------------------------

namespace {

struct KindName {
    const char* name;
    Kind kind;
};
constexpr KindName kKinds[] = {
    {"Tensor", Kind::Tensor},
    {"Operand", Kind::Operand},
    {"Tensor[]", Kind::TensorList},
    {"Tensor?[]", Kind::OptTensors},
    {"Scalar", Kind::Scalar},
    {"int", Kind::Int},
    {"int[]", Kind::IntList},
    {"float", Kind::Float},
    {"float[]", Kind::FloatList},
    {"bool", Kind::Bool},
    {"str", Kind::Str},
    {"dtype", Kind::DType},
    {"layout", Kind::Layout},
    {"device", Kind::Device},
    {"memory_format", Kind::MemoryFormat},
    {"Generator", Kind::Generator},
    {"object", Kind::Object},
};

// NumPy's names for parameters, which PyTorch accepts too.
constexpr const char* kAliases[][4] = {
    {"dim", "axis"}, {"keepdim", "keepdims"}, {"input", "x", "a", "x1"}, {"other", "x2"}};

const char* type_text(Kind kind) {
    switch (kind) {
        case Kind::Operand: return "Tensor";
        case Kind::Scalar: return "Number";
        case Kind::TensorList:
        case Kind::OptTensors: return "tuple of Tensors";
        case Kind::IntList: return "tuple of ints";
        case Kind::FloatList: return "tuple of floats";
        default: break;
    }
    for (const KindName& k : kKinds)
        if (k.kind == kind)
            return kind == Kind::DType          ? "torch.dtype"
                   : kind == Kind::Layout       ? "torch.layout"
                   : kind == Kind::Device       ? "torch.device"
                   : kind == Kind::MemoryFormat ? "torch.memory_format"
                   : kind == Kind::Generator    ? "torch.Generator"
                                                : k.name;
    return "object";
}

PyObject* intern(const std::string& s) { return checked_object(PyUnicode_InternFromString(s.c_str())); }

std::string trim(const std::string& s) {
    size_t b = s.find_first_not_of(" \n\t"), e = s.find_last_not_of(" \n\t");
    return b == std::string::npos ? "" : s.substr(b, e - b + 1);
}

// Splits at top-level commas.
std::vector<std::string> split_commas(const std::string& s) {
    std::vector<std::string> parts;
    int depth = 0;
    size_t start = 0;
    for (size_t i = 0; i <= s.size(); ++i) {
        if (i == s.size() || (s[i] == ',' && depth == 0)) {
            std::string part = trim(s.substr(start, i - start));
            if (!part.empty()) parts.push_back(part);
            start = i + 1;
        } else if (s[i] == '(' || s[i] == '[') {
            ++depth;
        } else if (s[i] == ')' || s[i] == ']') {
            --depth;
        }
    }
    return parts;
}

PyObject* parse_default(Op* op, const std::string& text) {
    if (text == "None") Py_RETURN_NONE;
    if (text == "True") Py_RETURN_TRUE;
    if (text == "False") Py_RETURN_FALSE;
    // Literals only: numbers, strings, tuples of them.
    ObjectRef globals = ObjectRef::steal(checked_object(PyDict_New()));
    PyObject* value = PyRun_String(text.c_str(), Py_eval_input, globals.get(), globals.get());
    if (!value) fail(ErrorKind::Python, "record of ", op->cname, ": bad default ", text);
    return value;
}

Param parse_param(Op* op, std::string text) {
    Param p;
    const size_t eq = text.find('=');
    if (eq != std::string::npos) {
        p.required = false;
        p.default_value = parse_default(op, trim(text.substr(eq + 1)));
        text = trim(text.substr(0, eq));
    }
    const size_t space = text.rfind(' ');
    check(space != std::string::npos, "record of ", op->cname, ": parameter '", text, "' lacks a type");
    const std::string name = text.substr(space + 1);
    std::string type = trim(text.substr(0, space));
    if (type != "Tensor?[]" && type.back() == '?') {
        p.none_ok = true;
        type.pop_back();
    }
    const size_t bracket = type.find('[');
    if (bracket != std::string::npos && bracket + 1 < type.size() && isdigit(type[bracket + 1])) {
        p.list_length = std::atoi(type.c_str() + bracket + 1);
        type = type.substr(0, bracket) + "[]";
    }
    bool known = false;
    for (const KindName& k : kKinds)
        if (type == k.name) {
            p.kind = k.kind;
            known = true;
        }
    check(known, "record of ", op->cname, ": unknown type '", type, "' of parameter ", name);
    p.name = intern(name);
    for (const auto& a : kAliases)
        if (name == a[0])
            for (int i = 0; i < 3 && a[i + 1]; ++i) p.aliases[i] = intern(a[i + 1]);
    return p;
}

}  // namespace

// One field a line, as PyTorch prints them.
static PyObject* result_repr(PyObject* self) {
    PyObject* text = PyUnicode_FromFormat("%s(\n", Py_TYPE(self)->tp_name);
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(self); i < n && text; ++i) {
        PyObject* line = PyUnicode_FromFormat("%s=%R%s", Py_TYPE(self)->tp_members[i].name,
                                              PyTuple_GET_ITEM(self, i), i + 1 < n ? ",\n" : ")");
        PyUnicode_AppendAndDel(&text, line);
    }
    return text;
}

PyTypeObject* make_result_type(const std::string& name, const std::vector<PyObject*>& field_names) {
    // The descriptor's strings must outlive the type.
    auto* fields = new std::vector<PyStructSequence_Field>();
    for (PyObject* field : field_names) fields->push_back({PyUnicode_AsUTF8(field), nullptr});
    fields->push_back({nullptr, nullptr});
    PyStructSequence_Desc desc;
    desc.name = strdup(("torch.return_types." + name).c_str());
    desc.doc = "";
    desc.fields = fields->data();
    desc.n_in_sequence = int(field_names.size());
    PyTypeObject* type = PyStructSequence_NewType(&desc);
    if (!type) throw Error(ErrorKind::Python, "");
    type->tp_repr = result_repr;
    return type;
}

void parse_signature(Op* op, const char* text) {
    const std::string s = text;
    const size_t open = s.find('(');
    check(open != std::string::npos, "record '", s, "': no parameter list");
    // "max.dim" is the overload `dim` of max: messages and result types speak of max.
    const std::string full_name = trim(s.substr(0, open));
    op->name = intern(full_name);
    op->cname = PyUnicode_AsUTF8(intern(full_name.substr(0, full_name.find('.'))));
    int depth = 0;
    size_t close = open;
    for (; close < s.size(); ++close) {
        if (s[close] == '(') ++depth;
        if (s[close] == ')' && --depth == 0) break;
    }
    check(close < s.size(), "record '", s, "': unbalanced parentheses");
    bool keyword_only = false;
    for (const std::string& part : split_commas(s.substr(open + 1, close - open - 1))) {
        if (part == "*") {
            keyword_only = true;
            continue;
        }
        Param p = parse_param(op, part);
        p.keyword_only = keyword_only;
        if (!keyword_only) ++op->num_positional;
        if (std::strcmp(PyUnicode_AsUTF8(p.name), "out") == 0) op->out_param = int(op->params->size());
        op->params->push_back(p);
    }
    check(int(op->params->size()) <= kMaxParams, "record of ", op->cname, ": too many parameters");
    for (int i = 0; i < int(op->params->size()); ++i)
        if (i != op->out_param && (*op->params)[i].kind <= Kind::OptTensors) op->input_tensors = i + 1;
    // f(2, 3) for f((2, 3)): when the list is the only positional parameter besides a leading tensor.
    const auto& params = *op->params;
    const int first = op->num_positional && params[0].kind == Kind::Tensor ? 1 : 0;
    if (op->num_positional == first + 1 && params[first].kind == Kind::IntList) op->varargs_param = first;
    const size_t arrow = s.find("->", close);
    if (arrow == std::string::npos) return;
    const std::string result = trim(s.substr(arrow + 2));
    if (result.front() != '(') return;
    op->output_names = new std::vector<PyObject*>();
    for (const std::string& part : split_commas(result.substr(1, result.size() - 2))) {
        const size_t space = part.rfind(' ');
        if (space == std::string::npos) continue;
        op->output_names->push_back(intern(part.substr(space + 1)));
    }
    if (op->output_names->empty()) return;
    op->result_type = make_result_type(op->cname, *op->output_names);
}

// ---- a call's arguments -----------------------------------------------------------------------------------------------

namespace {

bool is_index(PyObject* o) {
    if (PyBool_Check(o)) return false;
    if (PyLong_Check(o)) return true;
    if (is_tensor(o)) {
        Tensor& t = *reinterpret_cast<Tensor*>(o);
        return t.numel == 1 && is_integral(t.dtype, false) && !t.requires_grad();
    }
    return PyIndex_Check(o);
}

bool takes_list(Kind kind) {
    return kind == Kind::TensorList || kind == Kind::OptTensors || kind == Kind::IntList ||
           kind == Kind::FloatList;
}

bool zero_dim_tensor(PyObject* o) { return is_tensor(o) && reinterpret_cast<Tensor*>(o)->ndim() == 0; }

bool is_real_number(PyObject* o) {
    if (PyFloat_Check(o) || PyLong_Check(o)) return true;
    if (PyComplex_Check(o)) return false;
    return zero_dim_tensor(o) || is_number(o);
}

template <class F>
bool all_items(PyObject* o, F&& ok) {
    if (PyTuple_Check(o)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); ++i)
            if (!ok(PyTuple_GET_ITEM(o, i))) return false;
        return true;
    }
    if (PyList_Check(o)) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); ++i)
            if (!ok(PyList_GET_ITEM(o, i))) return false;
        return true;
    }
    return false;
}

bool tensor_like(PyObject* o, bool& overridden) {
    if (is_exact_tensor(o)) return true;
    if (is_tensor(o)) {
        if (Py_TYPE(o) != ParameterType && has_torch_function(o)) overridden = true;
        return true;
    }
    if (has_torch_function(o)) return overridden = true;
    return false;
}

bool accepts(const Param& p, PyObject* o, bool& overridden) {
    if (o == Py_None && p.none_ok) return true;
    switch (p.kind) {
        case Kind::Tensor: return tensor_like(o, overridden);
        case Kind::Operand: return is_number(o) || tensor_like(o, overridden);
        case Kind::TensorList: return all_items(o, [&](PyObject* t) { return tensor_like(t, overridden); });
        case Kind::OptTensors:
            return all_items(o, [&](PyObject* t) { return t == Py_None || tensor_like(t, overridden); });
        case Kind::Scalar: return is_number(o) || zero_dim_tensor(o);
        case Kind::Int: return is_index(o);
        case Kind::IntList: return (p.list_length > 0 && is_index(o)) || all_items(o, is_index);
        case Kind::Float: return is_real_number(o);
        case Kind::FloatList: return (p.list_length > 0 && is_real_number(o)) || all_items(o, is_real_number);
        case Kind::Bool:
            return PyBool_Check(o) ||
                   (!PyLong_Check(o) && std::strcmp(Py_TYPE(o)->tp_name, "numpy.bool_") == 0) ||
                   std::strcmp(Py_TYPE(o)->tp_name, "numpy.bool") == 0;
        case Kind::Str: return PyUnicode_Check(o);
        case Kind::DType: return is_dtype_object(o);
        case Kind::Layout: return is_layout_object(o);
        case Kind::Device: return is_device_like(o);
        case Kind::MemoryFormat: return is_memory_format_object(o);
        case Kind::Generator: return is_generator_object(o);
        case Kind::Object: return true;
    }
    return false;
}

bool builtin_number(PyObject* o) { return PyFloat_Check(o) || PyLong_Check(o) || PyComplex_Check(o); }

PyObject* plain_int(PyObject* o) { return PyLong_CheckExact(o) ? Py_NewRef(o) : PyNumber_Index(o); }
PyObject* plain_float(PyObject* o) {
    if (PyFloat_Check(o) || PyLong_CheckExact(o) || is_tensor(o)) return Py_NewRef(o);
    const double value = PyFloat_AsDouble(o);
    return value == -1.0 && PyErr_Occurred() ? nullptr : PyFloat_FromDouble(value);
}

// The tuple with every item made plain; the same tuple when they are already.
PyObject* plain_items(PyObject* tuple, PyObject* (*plain)(PyObject*)) {
    const Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    ObjectRef out = ObjectRef::steal(checked_object(PyTuple_New(n)));
    bool same = true;
    for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject* item = checked_object(plain(PyTuple_GET_ITEM(tuple, i)));
        same &= item == PyTuple_GET_ITEM(tuple, i);
        PyTuple_SET_ITEM(out.get(), i, item);
    }
    return same ? Py_NewRef(tuple) : out.release();
}

bool all_exact_ints(PyObject* tuple) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i)
        if (!PyLong_CheckExact(PyTuple_GET_ITEM(tuple, i))) return false;
    return true;
}

// Note [Arguments hold still]: an accepted argument as something that reading cannot change.
PyObject* plain_argument(const Param& p, PyObject* o, ParsedArgs& parsed) {
    switch (p.kind) {
        case Kind::Int: return PyLong_CheckExact(o) || o == Py_None ? o : parsed.hold(plain_int(o));
        case Kind::IntList:
            if (o == Py_None || (PyTuple_Check(o) && all_exact_ints(o))) return o;
            return parsed.hold(PyTuple_Check(o) ? plain_items(o, plain_int) : plain_int(o));
        case Kind::Float: return PyFloat_CheckExact(o) || o == Py_None ? o : parsed.hold(plain_float(o));
        case Kind::FloatList:
            if (o == Py_None) return o;
            return parsed.hold(PyTuple_Check(o) ? plain_items(o, plain_float) : plain_float(o));
        case Kind::Operand:
        case Kind::Scalar:
            if (builtin_number(o) || o == Py_None || !is_number(o)) return o;
            return parsed.hold(scalar_object(number_from(o)));
        case Kind::Bool:
            if (PyBool_Check(o) || o == Py_None) return o;
            switch (PyObject_IsTrue(o)) {
                case 0: return Py_False;
                case 1: return Py_True;
                default: throw Error(ErrorKind::Python, "");
            }
        default: return o;
    }
}

// Names in messages: text that UTF-8 cannot hold must not break the message itself.
const char* utf8(PyObject* text) {
    const char* s = PyUnicode_AsUTF8(text);
    if (!s) PyErr_Clear();
    return s ? s : "?";
}

const char* short_type(PyObject* o) {
    const char* name = Py_TYPE(o)->tp_name;
    const char* dot = std::strrchr(name, '.');
    return dot ? dot + 1 : name;
}

std::string describe(PyObject* o) {
    if ((PyTuple_Check(o) || PyList_Check(o))) {
        const bool tuple = PyTuple_Check(o);
        std::string out = tuple ? "tuple of (" : "list of [";
        const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
        for (Py_ssize_t i = 0; i < n && i < 6; ++i) {
            if (i) out += ", ";
            out += short_type(PySequence_Fast_GET_ITEM(o, i));
        }
        if (n > 6) out += ", ...";
        return out + (tuple ? ")" : "]");
    }
    return short_type(o);
}

}  // namespace

static std::string nobody;
std::string* const kSilently = &nobody;

bool parse_arguments(Op* op, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, ParsedArgs& parsed,
                     std::string* why) {
    // The message is only made where somebody reads it: trying one overload after the other must be cheap.
    const auto mismatch = [&](auto&& message) -> bool {
        if (!why) fail(ErrorKind::Type, message());
        if (why != kSilently) *why = message();
        return false;
    };
    const std::vector<Param>& params = *op->params;
    const int n = int(params.size());
    PyObject** slots = parsed.slots;
    parsed.overridden = false;
    Py_ssize_t positional = nargs;
    const int va = op->varargs_param;
    if (va >= 0 && nargs > va && (nargs > va + 1 || (params[va].list_length == 0 && is_index(args[va]))) &&
        is_index(args[va])) {
        PyObject* packed = checked_object(PyTuple_New(nargs - va));
        for (Py_ssize_t i = va; i < nargs; ++i) {
            Py_INCREF(args[i]);
            PyTuple_SET_ITEM(packed, i - va, args[i]);
        }
        parsed.hold(packed);
        for (int i = 0; i < va; ++i) slots[i] = args[i];
        slots[va] = packed;
        positional = va + 1;
    } else {
        if (nargs > op->num_positional)
            return mismatch([&] {
                return join(op->cname, "() takes ", op->num_positional, " positional argument",
                            op->num_positional == 1 ? "" : "s", " but ", nargs, nargs == 1 ? " was" : " were",
                            " given");
            });
        for (Py_ssize_t i = 0; i < nargs; ++i) slots[i] = args[i];
    }
    for (int i = int(positional); i < n; ++i) slots[i] = nullptr;
    if (kwnames) {
        const Py_ssize_t nkw = PyTuple_GET_SIZE(kwnames);
        for (Py_ssize_t k = 0; k < nkw; ++k) {
            PyObject* key = PyTuple_GET_ITEM(kwnames, k);
            int found = -1;
            for (int i = 0; i < n && found < 0; ++i)
                if (params[i].name == key) found = i;
            for (int i = 0; i < n && found < 0; ++i)
                if (PyUnicode_Compare(params[i].name, key) == 0) found = i;
            for (int i = 0; i < n && found < 0; ++i)
                for (PyObject* alias : params[i].aliases)
                    if (alias && PyUnicode_Compare(alias, key) == 0) found = i;
            if (found < 0)
                return mismatch([&] {
                    return join(op->cname, "() got an unexpected keyword argument '", utf8(key), "'");
                });
            if (slots[found])
                return mismatch(
                    [&] { return join(op->cname, "() got multiple values for argument '", utf8(key), "'"); });
            slots[found] = args[nargs + k];
        }
    }
    for (int i = 0; i < n; ++i) {
        const Param& p = params[i];
        PyObject* o = slots[i];
        if (!o) {
            if (p.required)
                return mismatch([&] {
                    return join(op->cname, "() missing 1 required positional arguments: \"", utf8(p.name),
                                "\"");
                });
            slots[i] = p.default_value;
            continue;
        }
        // The commonest case first, inline.
        if (p.kind <= Kind::Operand && Py_TYPE(o) == TensorType) continue;
        if (PyList_Check(o) && takes_list(p.kind)) o = slots[i] = parsed.hold(PyList_AsTuple(o));
        // What is written in place must be a tensor, whatever its plain form takes.
        const bool ok =
            i == 0 && op->inplace ? tensor_like(o, parsed.overridden) : accepts(p, o, parsed.overridden);
        if (__builtin_expect(!ok, 0)) {
            if (PyErr_Occurred()) throw Error(ErrorKind::Python, "");
            return mismatch([&] {
                if (p.kind == Kind::TensorList && PyTuple_Check(o)) {
                    Py_ssize_t k = 0;
                    while (k < PyTuple_GET_SIZE(o) && tensor_like(PyTuple_GET_ITEM(o, k), parsed.overridden))
                        ++k;
                    if (k < PyTuple_GET_SIZE(o))
                        return join(op->cname, "(): expected Tensor as element ", k, " in argument ", i,
                                    ", but got ", short_type(PyTuple_GET_ITEM(o, k)));
                }
                return join(op->cname, "(): argument '", utf8(p.name), "'",
                            p.keyword_only ? "" : join(" (position ", i + 1, ")"), " must be ",
                            type_text(p.kind), ", not ", short_type(o));
            });
        }
        slots[i] = plain_argument(p, o, parsed);
    }
    return true;
}

void raise_no_overload(PyObject* name, PyObject* ops, PyObject* const* args, Py_ssize_t nargs,
                       PyObject* kwnames) {
    std::string message = join(utf8(name), "() received an invalid combination of arguments - got (");
    const Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < nargs + nkw; ++i) {
        if (i) message += ", ";
        if (i >= nargs) message += join(utf8(PyTuple_GET_ITEM(kwnames, i - nargs)), "=");
        message += describe(args[i]);
    }
    message += "), but expected one of:";
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ops); ++i) {
        Op* op = reinterpret_cast<Op*>(PyTuple_GET_ITEM(ops, i));
        const std::string text = utf8(op->signature);
        ParsedArgs parsed;
        std::string why;
        parse_arguments(op, args, nargs, kwnames, parsed, &why);
        message +=
            "\n * " + text.substr(text.find('('), text.find(" ->") - text.find('(')) + "\n      " + why;
    }
    fail(ErrorKind::Type, message);
}

}  // namespace flb
