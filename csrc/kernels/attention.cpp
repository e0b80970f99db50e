// Attention of one head: packs its matrices and runs the products and what is between them, panel by panel.
#include "kernels/attention.h"

#include <algorithm>
#include <limits>

#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(attention_weights);
FLB_DEFINE_KERNEL(attention_output);
FLB_DEFINE_KERNEL(attention_slopes);
FLB_DEFINE_KERNEL(attention_transpose);
FLB_DEFINE_KERNEL(attention_pack);
FLB_DEFINE_KERNEL(attention_pack_columns);
FLB_DEFINE_KERNEL(attention_dots);

namespace {

// Keys (forward) or queries (backward) whose scores exist at a time, before rounding up to whole panels.
constexpr int64_t kBlock = 512;
// Panels of keys that backward works on together: their gradients stay in the first cache level.
constexpr int64_t kKeyPanels = 4;
constexpr int64_t kEverything = int64_t(1) << 40;  // a diagonal that masks nothing

template <class T>
constexpr PanelType kPanelType = sizeof(T) == 4 ? PanelType::F32 : PanelType::F64;
template <class T>
constexpr DType kDType = sizeof(T) == 4 ? DType::Float32 : DType::Float64;

// Buffers cut out of one block of scratch memory, in order.
template <class T>
class Workspace {
  public:
    // Sizes are bounded by those of tensors that exist, or were expanded: the product may still be absurd.
    int64_t reserve(int64_t rows, int64_t columns) {
        const int64_t at = size_;
        check_as(ErrorKind::Memory, double(rows) * double(columns) < double(int64_t(1) << 46),
                 "DefaultCPUAllocator: can't allocate memory: attention to ", rows, " rows of ", columns);
        size_ += round_up(rows * columns, 64 / int64_t(sizeof(T)));
        return at;
    }
    void allocate() { data_ = static_cast<T*>(scratch(Scratch::Columns, size_t(size_) * sizeof(T))); }
    T* at(int64_t offset) const { return data_ + offset; }

  private:
    int64_t size_ = 0;
    T* data_ = nullptr;
};

template <class T>
T* row_of(const AttentionMatrix& m, int64_t row) {
    return static_cast<T*>(m.data) + row * m.row;
}

// Rows of m from `first` on as panels of rows, and as panels of columns.
template <class T>
void pack_rows(bool is_a, const AttentionMatrix& m, int64_t first, int64_t count, int64_t kc, double scale,
               T* panels) {
    const GemmShape tile = gemm_shape(kPanelType<T>);
    attention_pack(kDType<T>, is_a, row_of<T>(m, first), m.row, count, kc, scale, panels,
                   kc * (is_a ? tile.mr : tile.nr));
}
template <class T>
void pack_columns(bool is_a, const AttentionMatrix& m, int64_t first, int64_t rows, int64_t columns,
                  double scale, T* panels) {
    attention_pack_columns(kDType<T>, is_a, row_of<T>(m, first), m.row, columns, rows, scale, panels);
}

template <class T>
ScorePanel score_panel(const AttentionHead& h, T* scores, int64_t rows, int64_t columns, int64_t diagonal,
                       int64_t query, int64_t key, bool transposed) {
    ScorePanel p{scores, rows, columns, diagonal, nullptr, h.mask_row, h.mask_column};
    if (h.mask) p.mask = static_cast<const T*>(h.mask) + query * h.mask_row + key * h.mask_column;
    if (transposed) std::swap(p.mask_row, p.mask_column);
    return p;
}

// Products with the first `kc` steps of panels that were packed with `packed` of them: c[i] (+)= a[i] b, panel by panel.
template <class T>
void product_of_steps(int64_t m, int64_t kc, const T* a, int64_t packed, const T* b, T* c, bool accumulate) {
    const GemmShape tile = gemm_shape(kPanelType<T>);
    for (int64_t i = 0; i < m; i += tile.mr)
        gemm_block(kPanelType<T>, std::min<int64_t>(tile.mr, m - i), tile.nr, kc, a + i * packed, b,
                   c + i * tile.nr, tile.nr, accumulate);
}

template <class T>
void forward(const AttentionShape& s, const AttentionHead& h, int64_t first_panel, int64_t step) {
    constexpr PanelType type = kPanelType<T>;
    const GemmShape tile = gemm_shape(type);
    const int64_t mr = tile.mr, nr = tile.nr, block = round_up(kBlock, mr);
    const int64_t key_rows = round_up(s.keys, mr), value_rows = round_up(s.value_size, mr);
    Workspace<T> w;
    const int64_t keys_at = w.reserve(key_rows, s.size), values_at = w.reserve(value_rows, s.keys),
                  query_at = w.reserve(nr, s.size), scores_at = w.reserve(std::min(block, key_rows), nr),
                  sums_at = w.reserve(value_rows, nr), top_at = w.reserve(2, nr);
    w.allocate();
    T *keys = w.at(keys_at), *values = w.at(values_at), *query = w.at(query_at), *scores = w.at(scores_at),
      *sums = w.at(sums_at), *top = w.at(top_at), *total = top + nr;

    pack_rows<T>(true, h.key, 0, s.keys, s.size, 1.0, keys);
    for (int64_t k = 0; k < s.keys; k += block)
        pack_columns<T>(true, h.value, k, std::min(block, s.keys - k), s.value_size, 1.0,
                        values + value_rows * k);

    for (int64_t q = first_panel * nr; q < s.queries; q += step * nr) {
        const int64_t columns = std::min(nr, s.queries - q),
                      seen = s.causal ? std::min(s.keys, q + columns) : s.keys;
        pack_rows<T>(false, h.query, q, columns, s.size, s.scale, query);
        std::fill(top, top + nr, -std::numeric_limits<T>::infinity());
        std::fill(total, total + nr, T(0));
        for (int64_t k = 0; k < seen; k += block) {
            const int64_t count = std::min(block, seen - k);
            gemm_block(type, count, nr, s.size, keys + k * s.size, query, scores, nr, false);
            const ScorePanel p =
                score_panel(h, scores, count, columns, s.causal ? q - k : kEverything, q, k, true);
            attention_weights(kDType<T>, p, top, total, sums, k ? s.value_size : 0);
            product_of_steps(s.value_size, count, values + value_rows * k, std::min(block, s.keys - k),
                             static_cast<const T*>(scores), sums, k > 0);
        }
        attention_output(kDType<T>, sums, top, total, s.value_size, columns, row_of<T>(h.output, q),
                         h.output.row, static_cast<T*>(h.log_sums) + q);
    }
}

template <class T>
void backward(const AttentionShape& s, const AttentionHead& h, const AttentionGradients& g) {
    constexpr PanelType type = kPanelType<T>;
    constexpr DType dtype = kDType<T>;
    const GemmShape tile = gemm_shape(type);
    const int64_t mr = tile.mr, nr = tile.nr, block = round_up(kBlock, mr), key_block = kKeyPanels * nr;
    const int64_t query_rows = round_up(s.queries, mr), rows_at_once = std::min(block, query_rows);
    const int64_t size_rows = round_up(s.size, mr), value_rows = round_up(s.value_size, mr);
    Workspace<T> w;
    const int64_t query_at = w.reserve(query_rows, s.size), query_t_at = w.reserve(size_rows, s.queries),
                  grad_at = w.reserve(query_rows, s.value_size), grad_t_at = w.reserve(value_rows, s.queries),
                  delta_at = w.reserve(1, s.queries), key_at = w.reserve(key_block, s.size),
                  key_t_at = w.reserve(round_up(s.size, nr), key_block),
                  value_at = w.reserve(key_block, s.value_size), scores_at = w.reserve(rows_at_once, nr),
                  slopes_at = w.reserve(rows_at_once, nr), packed_at = w.reserve(rows_at_once, key_block),
                  dk_at = w.reserve(size_rows, key_block), dv_at = w.reserve(value_rows, key_block);
    w.allocate();
    T *query = w.at(query_at), *query_t = w.at(query_t_at), *grad = w.at(grad_at), *grad_t = w.at(grad_t_at),
      *delta = w.at(delta_at), *key = w.at(key_at), *key_t = w.at(key_t_at), *value = w.at(value_at),
      *scores = w.at(scores_at), *slopes = w.at(slopes_at), *packed = w.at(packed_at), *dk = w.at(dk_at),
      *dv = w.at(dv_at);
    const T* log_sums = static_cast<const T*>(h.log_sums);

    // dK = scale dS^T Q and dQ = scale dS K: the scale is packed with Q, and with the K that dS is multiplied with.
    attention_dots(dtype, g.grad_output.data, g.grad_output.row, h.output.data, h.output.row, s.queries,
                   s.value_size, delta);
    pack_rows<T>(true, h.query, 0, s.queries, s.size, s.scale, query);
    pack_rows<T>(true, g.grad_output, 0, s.queries, s.value_size, 1.0, grad);
    for (int64_t q = 0; q < s.queries; q += block) {
        const int64_t count = std::min(block, s.queries - q);
        pack_columns<T>(true, h.query, q, count, s.size, s.scale, query_t + size_rows * q);
        pack_columns<T>(true, g.grad_output, q, count, s.value_size, 1.0, grad_t + value_rows * q);
    }

    for (int64_t k0 = 0; k0 < s.keys; k0 += key_block) {
        const int64_t keys = std::min(key_block, s.keys - k0);
        pack_rows<T>(false, h.key, k0, keys, s.size, 1.0, key);
        pack_rows<T>(false, h.value, k0, keys, s.value_size, 1.0, value);
        pack_columns<T>(false, h.key, k0, keys, s.size, s.scale, key_t);
        std::fill(dk, dk + size_rows * key_block, T(0));
        std::fill(dv, dv + value_rows * key_block, T(0));
        for (int64_t q0 = 0; q0 < s.queries; q0 += block) {
            const int64_t q1 = std::min(s.queries, q0 + block), steps = q1 - q0;
            // From the first query that sees a key of this block, rounded down to a panel.
            const int64_t q = s.causal ? std::max(q0, k0 / mr * mr) : q0, count = q1 - q;
            if (count <= 0) continue;
            for (int64_t p = 0; p * nr < keys; ++p) {
                const int64_t k = k0 + p * nr, columns = std::min(nr, s.keys - k);
                gemm_block(type, count, nr, s.size, query + q * s.size, key + p * nr * s.size, scores, nr,
                           false);
                gemm_block(type, count, nr, s.value_size, grad + q * s.value_size,
                           value + p * nr * s.value_size, slopes, nr, false);
                const ScorePanel panel =
                    score_panel(h, scores, count, columns, s.causal ? q - k : kEverything, q, k, false);
                attention_slopes(dtype, panel, log_sums + q, delta + q, slopes);
                product_of_steps<T>(s.value_size, count, grad_t + value_rows * q0 + (q - q0) * mr, steps,
                                    scores, dv + p * value_rows * nr, true);
                product_of_steps<T>(s.size, count, query_t + size_rows * q0 + (q - q0) * mr, steps, slopes,
                                    dk + p * size_rows * nr, true);
                attention_pack(dtype, true, slopes, nr, count, columns, 1.0, packed + p * nr * mr, keys * mr);
            }
            gemm_block(type, count, s.size, keys, packed, key_t, row_of<T>(g.grad_query, q), g.grad_query.row,
                       k0 > 0);
        }
        for (int64_t p = 0; p * nr < keys; ++p) {
            const int64_t k = k0 + p * nr, columns = std::min(nr, s.keys - k);
            attention_transpose(dtype, dk + p * size_rows * nr, s.size, columns, row_of<T>(g.grad_key, k),
                                g.grad_key.row);
            attention_transpose(dtype, dv + p * value_rows * nr, s.value_size, columns,
                                row_of<T>(g.grad_value, k), g.grad_value.row);
        }
    }
}

}  // namespace

int64_t attention_panels(const AttentionShape& s) {
    return ceil_div(s.queries, gemm_shape(s.dtype == DType::Float32 ? PanelType::F32 : PanelType::F64).nr);
}

void attention_forward(const AttentionShape& s, const AttentionHead& h, int64_t first, int64_t step) {
    if (s.dtype == DType::Float32) forward<float>(s, h, first, step);
    else forward<double>(s, h, first, step);
}

void attention_backward(const AttentionShape& s, const AttentionHead& h, const AttentionGradients& g) {
    if (s.dtype == DType::Float32) backward<float>(s, h, g);
    else backward<double>(s, h, g);
}

}  // namespace flb
