// Exchange of memory with other libraries.
#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

void init_interop(PyObject* module) { (void)module; }

}  // namespace flb
