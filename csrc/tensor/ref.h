// Ref<T>: an owning reference to a Python object of a native type.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <utility>

namespace flb {

template <class T>
class Ref {
  public:
    Ref() = default;
    static Ref steal(void* p) {
        Ref r;
        r.p_ = static_cast<T*>(p);
        return r;
    }
    static Ref borrow(void* p) {
        Py_XINCREF(static_cast<PyObject*>(p));
        return steal(p);
    }
    Ref(const Ref& o) : p_(o.p_) { Py_XINCREF(object()); }
    Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
    Ref& operator=(Ref o) noexcept {
        std::swap(p_, o.p_);
        return *this;
    }
    ~Ref() { Py_XDECREF(object()); }

    T* get() const { return p_; }
    T* operator->() const { return p_; }
    T& operator*() const { return *p_; }
    explicit operator bool() const { return p_ != nullptr; }
    PyObject* object() const { return reinterpret_cast<PyObject*>(p_); }
    PyObject* release() { return reinterpret_cast<PyObject*>(std::exchange(p_, nullptr)); }

  private:
    T* p_ = nullptr;
};

using ObjectRef = Ref<PyObject>;

}  // namespace flb
