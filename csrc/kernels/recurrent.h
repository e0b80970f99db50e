// One layer of a recurrent network in one direction, all its steps.
//
// The rows of all steps lie one after the other; step t has rows[t] of them, never more than the step before, and its
// first rows continue those of the neighbouring step. What the input adds to the gates is one matrix product for all
// steps. Per step, the hidden state is multiplied by weights that were packed once, block of units by block, and the gates
// of a block are computed while they are near. Backward goes the same way; the gradients of the weights are products over the
// rows of many steps. Blocks are shared out to threads; no bit depends on how.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

enum class RecurrentMode : uint8_t { Lstm, Gru, Tanh, Relu };

// Gates of a unit in the weights. Gates are kept as columns of (row, kept_gates * hidden): input, forget, cell, output of an
// LSTM; reset, update, hidden part of new, new of a GRU; plain networks keep their output alone.
static constexpr int weight_gates(RecurrentMode m) {
    return m == RecurrentMode::Lstm ? 4 : m == RecurrentMode::Gru ? 3 : 1;
}
static constexpr int kept_gates(RecurrentMode m) {
    return m == RecurrentMode::Lstm || m == RecurrentMode::Gru ? 4 : 1;
}

struct RecurrentLayer {
    RecurrentMode mode;
    DType dtype;  // float32 or float64; all data below is dense and of this dtype
    bool reverse;
    int64_t features, hidden, steps, total;  // total: of all rows
    const int64_t* rows;
    const void *input, *w_ih, *w_hh;  // (total, features), (weight_gates * hidden, features), (..., hidden)
};

// Bytes of working memory, aligned to 64.
int64_t recurrent_workspace(const RecurrentLayer& layer, bool backward);

// hidden_state and cell_state (rows[0], hidden) hold the initial state and then the final one. biases may be null.
// gates (total, kept_gates * hidden) and cells (total, hidden), of an LSTM, are kept for backward; gates of a plain
// network are null.
void recurrent_forward(const RecurrentLayer& layer, const void* b_ih, const void* b_hh, void* hidden_state,
                       void* cell_state, void* output, void* gates, void* cells, void* workspace);

struct RecurrentBackward {
    const void* grad_output;                       // (total, hidden) or null
    const void *hx, *cx, *output, *gates, *cells;  // what forward was given and kept
    void *grad_hidden, *grad_cell;  // (rows[0], hidden): the final state's gradient, then the initial one's
    void *grad_gates,
        *previous;  // working memory: (2 * chunk rows, kept_gates * hidden), (chunk rows, hidden)
    void *grad_input, *grad_w_ih, *grad_w_hh, *grad_b_ih, *grad_b_hh;  // results, null where not wanted
    bool initial_wanted;  // whether grad_hidden is to be that of the initial state
};
// Rows of the steps that backward does before it turns to their products.
int64_t recurrent_chunk_rows(const RecurrentLayer& layer);
void recurrent_backward(const RecurrentLayer& layer, const RecurrentBackward& b, void* workspace);

// ---- the pointwise part of a step (isa/recurrent.cpp): `units` columns of `rows` rows of matrices with `hidden` columns ---
struct RecurrentGates {
    int64_t rows, units, hidden;
    void *gates, *hidden_state, *cell_state, *output, *cells;
    const void* bias;  // of every kept gate
};
FLB_KERNEL(recurrent_gates, void(RecurrentMode, DType, const RecurrentGates&));

struct RecurrentGatesBackward {
    int64_t rows, units, hidden;
    const void* grad_output;  // or null
    const void *gates, *cells, *output;
    const void* previous;  // the hidden (GRU) or cell state (LSTM) before the step
    void *grad_hidden, *grad_cell, *grad_gates;
};
FLB_KERNEL(recurrent_gates_backward, void(RecurrentMode, DType, const RecurrentGatesBackward&));
// sums[j] (+)= sum over rows of x[row, j]; `width` columns of a matrix with `stride` columns.
FLB_KERNEL(recurrent_column_sums,
           void(DType, int64_t rows, int64_t width, int64_t stride, const void* x, void* sums, bool add));

}  // namespace flb
