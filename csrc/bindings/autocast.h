// Note [Autocast]: inside `torch.autocast("cpu")`, operators with a policy get their floating-point arguments in another
// dtype. The casts are ordinary recorded operators, made before the operator itself is recorded. Plain calls pay one
// test of a flag of the thread, in `invoke`.
#pragma once
#include "bindings/op.h"

namespace flb {

enum class CastPolicy : uint8_t { Same, Lower, Float32, Widest };

extern thread_local bool autocast_on __attribute__((tls_model("initial-exec")));

// invoke(), with the arguments as the operator's policy wants them; autocast is off inside.
PyObject* invoke_in_autocast(Op* op, PyObject** args);
void init_autocast(PyObject* module);

}  // namespace flb
