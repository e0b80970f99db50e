// Note [Interception]: what may stand between a call of an operator and its running. A program can enter modes, Python
// callables that are given the operator and its arguments and answer in its place (`_push_mode`), and the profiler can
// write down what ran when (`_start_recording`). Both belong to a thread. Plain calls pay one test of a flag of the
// thread, in `invoke`.
#pragma once
#include "bindings/op.h"

namespace flb {

extern thread_local bool intercepted __attribute__((tls_model("initial-exec")));

// invoke(), by the innermost mode if there is one, written down if the profiler listens.
PyObject* invoke_intercepted(Op* op, PyObject** args);

// A part of the program for the profiler's record, while it lives. Nothing where nobody listens.
class RecordedSpan {
  public:
    explicit RecordedSpan(const Node* node) {
        if (__builtin_expect(intercepted, 0)) begin(node);
    }
    ~RecordedSpan() {
        if (__builtin_expect(index_ >= 0, 0)) end();
    }
    RecordedSpan(const RecordedSpan&) = delete;

  private:
    void begin(const Node* node);
    void end();
    int64_t index_ = -1;
};

// invoke() past autocast and interception.
PyObject* invoke_plainly(Op* op, PyObject** args);

void init_interception(PyObject* module);

}  // namespace flb
