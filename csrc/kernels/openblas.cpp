#include "kernels/openblas.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>

#include "core/error.h"
#include "kernels/blas.h"

namespace flb {
namespace {

std::string library_path;
std::mutex loading;
OpenBlas table;
void* library = nullptr;
std::atomic<const OpenBlas*> loaded{nullptr};

// Sets a variable of the environment unless the user has, and takes it back at the end.
class EnvironmentDefault {
  public:
    EnvironmentDefault(const char* name, const char* value)
        : name_(name), ours_(value && !std::getenv(name)) {
        if (ours_) setenv(name, value, 1);
    }
    ~EnvironmentDefault() {
        if (ours_) unsetenv(name_);
    }

  private:
    const char* name_;
    bool ours_;
};

class EnvironmentOverride {
  public:
    EnvironmentOverride(const char* name, const char* value) : name_(name) {
        if (const char* before = std::getenv(name)) {
            was_set_ = true;
            before_ = before;
        }
        setenv(name, value, 1);
    }
    ~EnvironmentOverride() {
        if (was_set_) {
            setenv(name_, before_.c_str(), 1);
        } else {
            unsetenv(name_);
        }
    }

  private:
    const char* name_;
    bool was_set_ = false;
    std::string before_;
};

// On AMD's processors with AVX-512, OpenBLAS picks its AVX2 kernels by itself, at half the speed.
const char* preferred_core() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
#endif
    return nullptr;
}

void* resolve(const char* name) {
    void* function = dlsym(library, name);
    check(function != nullptr, "OpenBLAS at '", library_path, "' has no function ", name);
    return function;
}
template <class F>
void resolve(F*& function, const char* name) {
    function = reinterpret_cast<F*>(resolve(name));
}

void load() {
    check(!library_path.empty(),
          "this product needs OpenBLAS, which was not found: install the package scipy-openblas32");
    {
        EnvironmentDefault core("OPENBLAS_CORETYPE", preferred_core());
        EnvironmentOverride threads("OPENBLAS_NUM_THREADS", "1");
        library = dlopen(library_path.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    if (!library)
        fail(ErrorKind::Runtime, "cannot load OpenBLAS: ", dlerror(), "; reinstall scipy-openblas32");
    resolve(table.cgemm, "scipy_cblas_cgemm");
    resolve(table.zgemm, "scipy_cblas_zgemm");
}

}  // namespace

void set_blas_library(const char* path) { library_path = path; }

bool openblas_known() { return !library_path.empty(); }

const OpenBlas& openblas() {
    if (const OpenBlas* t = loaded.load(std::memory_order_acquire)) return *t;
    std::lock_guard<std::mutex> hold(loading);
    if (!loaded.load(std::memory_order_relaxed)) {
        load();
        loaded.store(&table, std::memory_order_release);
    }
    return table;
}

void* openblas_symbol(const char* name) {
    openblas();
    return resolve(name);
}

}  // namespace flb
