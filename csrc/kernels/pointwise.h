// The pointwise family: any operator that maps elements to elements through a loop of its name.
#pragma once
#include "bindings/op.h"
#include "kernels/iterator.h"

namespace flb {

// What the result's dtype is, given the common dtype of the operands; a record writes it as kind="...".
enum class ResultKind : uint8_t {
    Same,       // "same": the common dtype (add, neg)
    Float,      // "float": integers become the default dtype (exp, true_divide)
    Bool,       // "bool" (eq, isnan)
    Real,       // "real": the part's dtype for complex (abs)
    FloatReal,  // "float_real": both of them (angle)
    Complex,    // "complex": the complex dtype of the parts (complex, polar)
};

struct PointwiseOp {
    const char* name;
    const LoopSet* loops;
    ResultKind kind;
    bool
        fallible;  // its integer loops may meet a division by zero: nothing may be overwritten before that is known
};

// Runs `op` on tensors and numbers: promotes, broadcasts, allocates or checks out=, iterates. Scalar parameters (alpha,
// min ...) are passed to the loop in its input dtype.
struct PointwiseOperand {
    Tensor* tensor;  // or null:
    Scalar number;
};
PyObject* run_pointwise(Call& call, const PointwiseOp& op, const PointwiseOperand* operands, int count,
                        const Scalar* params = nullptr, int num_params = 0);
// For native code: a fresh result.
const PointwiseOp& pointwise_op(const char* loops, ResultKind kind);  // lives as long as the process
TensorRef pointwise(const PointwiseOp& op, std::initializer_list<Tensor*> operands);

[[noreturn]] void raise_no_kernel(const char* name, DType dtype);
PyObject* pointwise_impl(Call& call);  // the family's Impl: operands and params in the signature's order

void add_into(Tensor& out, Tensor& in);  // out += in; same shape and dtype

}  // namespace flb
