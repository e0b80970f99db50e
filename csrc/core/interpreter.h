// Lets long kernels run without the interpreter lock; the core itself knows nothing of Python.
#pragma once
#include <optional>

#include "core/storage.h"

namespace flb {

// Set at import: release returns a token that reacquire takes.
extern void* (*release_interpreter)();
extern void (*reacquire_interpreter)(void*);

class Unlocked {
  public:
    explicit Unlocked(bool worthwhile) {
        if (!worthwhile || !release_interpreter) return;
        in_use_.emplace();
        token_ = release_interpreter();
    }
    ~Unlocked() {
        if (token_) reacquire_interpreter(token_);
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

  private:
    std::optional<MemoryInUse> in_use_;
    void* token_ = nullptr;
};

}  // namespace flb
