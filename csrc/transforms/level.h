// Function transforms: the levels a thread is in, and operators on tensors that stand for others.
//
// Note [Levels]: `vmap` and forward-mode differentiation each enter a level and wrap their inputs in tensors of that
// level (see Note [Wrapped tensors]). An operator with wrapped arguments goes to the handler of the highest level among
// them, which runs operators on what is wrapped, one level down, and so on until plain tensors are reached.
// Reverse mode has no level of its own. The history of a wrapper is what was recorded above its level, and nodes
// recorded there lead to nodes of the same level only; an argument from below is wrapped before it is recorded, and so
// keeps its own history apart. A gradient taken inside vmap is thus a gradient per example, and one taken outside is
// not touched by it.
#pragma once
#include "autograd/node.h"

namespace flb {

enum class LevelKind : uint8_t { Batch, Forward };

struct Level {
    uint64_t id;
    LevelKind kind;
    int64_t size;      // of a batch level
    PyObject* random;  // of a batch level: "error", "same" or "different"
    bool grad_below;   // the grad mode in which the level was entered: what is below it records in that mode
    bool record;       // whether wrappers of this level are recorded
};

// Raises inside a function that torch.func transforms: there a leaf of the user's would be nobody's input.
void check_outside_functions(const char* message);

// The operator run by the highest level that an argument belongs to, or null when no level has to do with the call.
PyObject* invoke_transformed(Op* op, PyObject** args);

Level* find_level(uint64_t id);  // null when it is over
Level* top_level();              // null outside
TensorRef wrap_batched(Tensor& value, int dim, const Level& level);
TensorRef wrap_dual(Tensor& value, Tensor* tangent, const Level& level);
// A tensor from below as one of `level`, standing for itself.
TensorRef lift(Tensor& t, const Level& level);

void init_transforms(PyObject* module);

}  // namespace flb
