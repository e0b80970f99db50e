// Fused attention of one head, softmax(scale * Q K^T + mask) V, and its gradient: the scores exist for a few rows at a time.
//
// Note [Panels of scores]: the forward pass computes transposed scores S^T = K Q^T for `nr` queries at a time, so that a
// column is a query: maxima and sums run down the columns without a step across lanes, and what the product's tile writes
// (rows of nr) is already the packed right operand of O^T = V^T P^T. The backward pass does the same with nr keys at a
// time: P and dS are the packed right operands of dV^T = dO^T P and dK^T = Q^T dS; for dQ, dS is transposed in registers.
// The method (running maxima, one log-sum-exp per query kept for backward) is that of Dao et al., "FlashAttention" (2022).
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// Rows of neighbouring elements, `row` elements apart.
struct AttentionMatrix {
    void* data = nullptr;
    int64_t row = 0;
};

// float or double throughout.
struct AttentionShape {
    DType dtype;
    int64_t queries, keys, size, value_size;  // all >= 1
    bool causal;                              // query i sees keys 0..i
    double scale;
};

struct AttentionHead {
    AttentionMatrix query, key, value, output;
    void* log_sums;    // (queries): log of the sum of exp of the scores; +inf where all are -inf
    const void* mask;  // (queries, keys), added to the scores; or null
    int64_t mask_row, mask_column;
};
// Queries [first, first + step, ...] of panels of nr queries.
void attention_forward(const AttentionShape& s, const AttentionHead& h, int64_t first, int64_t step);
int64_t attention_panels(const AttentionShape& s);

struct AttentionGradients {
    AttentionMatrix grad_output, grad_query, grad_key, grad_value;
};
void attention_backward(const AttentionShape& s, const AttentionHead& h, const AttentionGradients& g);

// ---- per instruction set: panels of `rows` x nr, where nr is that of gemm_shape ------------------------------------------

// What of a panel exists and counts. `diagonal`: of a score panel of backward, row r counts in columns <= r + diagonal; of
// forward's transposed one, column c counts in rows <= c + diagonal.
struct ScorePanel {
    void* scores;
    int64_t rows, columns, diagonal;
    const void* mask;  // null: none
    int64_t mask_row, mask_column;
};
// Turns scores into exp(score - top) with new running maxima `top` (nr), scales what was summed under the old ones:
// `sum` (nr) and `values` (value_rows x nr), and adds the panel's columns to `sum`.
FLB_KERNEL(attention_weights,
           void(DType dtype, const ScorePanel& p, void* top, void* sum, void* values, int64_t value_rows));
// output[c, e] = values[e, c] / sum[c] and the log-sums, for `columns` queries.
FLB_KERNEL(attention_output,
           void(DType dtype, const void* values, const void* top, const void* sum, int64_t value_size,
                int64_t columns, void* output, int64_t row_stride, void* log_sums));
// scores becomes P = exp(score - log_sums[r]); products (dP before) becomes dS = P * (dP - delta[r]).
FLB_KERNEL(attention_slopes,
           void(DType dtype, const ScorePanel& p, const void* log_sums, const void* delta, void* products));
// out[c, r] = in[r, c] for in (rows x nr) and `columns` rows of out.
FLB_KERNEL(attention_transpose,
           void(DType dtype, const void* in, int64_t rows, int64_t columns, void* out, int64_t out_stride));
// Packs `count` rows of kc neighbouring elements, times `scale`, into panels of mr (is_a) or nr rows, `panel_stride`
// elements apart; k runs slowest. What a panel lacks in rows is zero.
FLB_KERNEL(attention_pack, void(DType dtype, bool is_a, const void* source, int64_t row_stride, int64_t count,
                                int64_t kc, double scale, void* panels, int64_t panel_stride));
// Packs `count` columns of kc rows, elements of a row being neighbours, in the same way: a panel has mr or nr columns.
FLB_KERNEL(attention_pack_columns, void(DType dtype, bool is_a, const void* source, int64_t row_stride,
                                        int64_t count, int64_t kc, double scale, void* panels));
// out[r] = sum over c < n of a[r, c] * b[r, c].
FLB_KERNEL(attention_dots, void(DType dtype, const void* a, int64_t a_stride, const void* b, int64_t b_stride,
                                int64_t rows, int64_t n, void* out));

}  // namespace flb
