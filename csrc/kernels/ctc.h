// Connectionist temporal classification (Graves et al. 2006) of one sequence, in logarithms.
//
// The states are the labels with blanks around and between them: blank, l1, blank, l2, ..., blank. alpha[t, s] is the
// log-probability of everything seen up to step t, ending in state s; beta that of everything from step t on.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

struct CtcSequence {
    const void* log_probs;  // step t, class c: log_probs[t * stride + c]
    int64_t stride, classes, steps, labels;
    const int64_t* targets;  // `labels` of them, each in [0, classes)
    int64_t blank;
    void* alpha;  // (steps, 2 * labels + 1), rows `alpha_stride` elements apart
    int64_t alpha_stride;
    void* workspace;  // ctc_workspace bytes, aligned to 8
};

static constexpr int64_t ctc_workspace(int64_t labels) { return (7 * (2 * labels + 1) + 4) * 8; }

// Fills alpha and returns minus the log-probability of the labels.
FLB_KERNEL(ctc_alpha, double(DType, const CtcSequence&));
// grad_in, strided as log_probs, = scale * (probability of the class - how often the labels take it at this step): the
// gradient for log-probabilities that come from log_softmax. Where the labels are impossible it is NaN.
FLB_KERNEL(ctc_gradient,
           void(DType, const CtcSequence&, double negative_log_likelihood, double scale, void* grad_in));

}  // namespace flb
