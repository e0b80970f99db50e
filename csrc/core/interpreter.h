// Lets long kernels run without the interpreter lock; the core itself knows nothing of Python.
#pragma once

namespace flb {

// Set at import: release returns a token that reacquire takes.
extern void* (*release_interpreter)();
extern void (*reacquire_interpreter)(void*);

class Unlocked {
  public:
    explicit Unlocked(bool worthwhile) : token_(worthwhile && release_interpreter ? release_interpreter() : nullptr) {}
    ~Unlocked() {
        if (token_) reacquire_interpreter(token_);
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

  private:
    void* token_;
};

}  // namespace flb
