// Where in the user's program something happened: kept as a code object and an instruction, formatted only for errors.
#include "autograd/node.h"

#include <frameobject.h>

#include <cstring>

namespace flb {

namespace {

// Whether a code object belongs to this package, remembered for the code objects met lately. The table owns its
// entries, so that an address cannot come to mean another code object.
struct CodeEntry {
    PyCodeObject* code;
    bool internal;
};
constexpr int kTableSize = 512;
CodeEntry table[kTableSize];

// The package's directory with a trailing separator; empty until the package has begun to load.
const std::string& package_directory() {
    static std::string directory;
    if (!directory.empty()) return directory;
    PyObject* package = PyImport_AddModule("flambeau");  // borrowed
    PyObject* path = package ? PyObject_GetAttrString(package, "__path__") : nullptr;
    PyObject* first = path ? PySequence_GetItem(path, 0) : nullptr;
    const char* text = first && PyUnicode_Check(first) ? PyUnicode_AsUTF8(first) : nullptr;
    if (text) directory = std::string(text) + "/";
    Py_XDECREF(first);
    Py_XDECREF(path);
    PyErr_Clear();
    return directory;
}

bool lies_in_package(PyCodeObject* code) {
    const std::string& directory = package_directory();
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    if (!file) {
        PyErr_Clear();
        return false;
    }
    return !directory.empty() && std::strncmp(file, directory.c_str(), directory.size()) == 0;
}

bool is_internal(PyCodeObject* code) {
    CodeEntry& entry = table[(reinterpret_cast<uintptr_t>(code) >> 4) * 0x9E3779B1u >> 7 & (kTableSize - 1)];
    if (__builtin_expect(entry.code == code, 1)) return entry.internal;
    const bool internal = lies_in_package(code);
    PyCodeObject* old = entry.code;
    Py_INCREF(code);
    entry = {code, internal};
    Py_XDECREF(old);
    return internal;
}

#if PY_VERSION_HEX < 0x030B0000
int last_instruction(PyFrameObject* frame) { return frame->f_lasti * int(sizeof(_Py_CODEUNIT)); }
#else
int last_instruction(PyFrameObject* frame) { return PyFrame_GetLasti(frame); }
#endif

}  // namespace

Site capture_site() {
    PyFrameObject* frame = PyEval_GetFrame();  // borrowed
    if (!frame) return {};
    PyCodeObject* code = PyFrame_GetCode(frame);
    if (__builtin_expect(!is_internal(code), 1)) return {code, last_instruction(frame)};
    Py_INCREF(frame);
    for (;;) {
        PyFrameObject* back = PyFrame_GetBack(frame);
        if (!back) break;  // flambeau all the way: its own innermost frame says most
        Py_DECREF(frame);
        Py_DECREF(code);
        frame = back;
        code = PyFrame_GetCode(frame);
        if (!is_internal(code)) break;
    }
    const Site site{code, last_instruction(frame)};
    Py_DECREF(frame);
    return site;
}

void release_site(Site& site) {
    PyObject* code = static_cast<PyObject*>(site.code);
    site.code = nullptr;
    Py_XDECREF(code);
}

std::string describe_site(const Site& site) {
    if (!site.code) return "";
    PyCodeObject* code = static_cast<PyCodeObject*>(site.code);
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    const char* function = PyUnicode_AsUTF8(code->co_name);
    const int line = PyCode_Addr2Line(code, site.instruction);
    PyErr_Clear();
    return join("File \"", file ? file : "?", "\", line ", line, ", in ", function ? function : "?");
}

}  // namespace flb
