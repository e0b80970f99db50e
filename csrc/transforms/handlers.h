// What dispatch.cpp and level.cpp share.
#pragma once
#include "transforms/level.h"

namespace flb {

// Python functions that run an operator at a level: flambeau/_transforms.
//   batch(op, values, dims, size, randomness) -> (results, dims)
//   forward(op, primals, tangents, level) -> (results, tangents)
struct Handlers {
    PyObject* batch = nullptr;
    PyObject* forward = nullptr;
};
extern Handlers handlers;

// While a handler of level n runs, random operators concern levels below n only.
uint64_t& handlers_limit();
Level* innermost_batch(uint64_t limit);

}  // namespace flb
