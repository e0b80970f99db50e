// A layer of a recurrent network in one direction: checks and memory; the arithmetic is in kernels/recurrent.cpp.
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/recurrent.h"

namespace flb {
namespace {

// Which gradients backward is asked for, as bits.
enum GradMask : int64_t {
    kGradInput = 1,
    kGradHidden = 2,
    kGradCell = 4,
    kGradWih = 8,
    kGradWhh = 16,
    kGradBih = 32,
    kGradBhh = 64
};

// The arguments both operators share, from parameter `from` on: mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh, batch_sizes,
// reverse. Everything is checked, and made dense.
struct Arguments {
    Arguments(Call& call, int from) : input_tensor(&call.tensor(from + 1)) {
        Tensor &x = *input_tensor, &h = call.tensor(from + 2), &wi = call.tensor(from + 4),
               &wh = call.tensor(from + 5);
        Tensor *c = call.tensor_or_null(from + 3), *bi = call.tensor_or_null(from + 6),
               *bh = call.tensor_or_null(from + 7), *sizes = call.tensor_or_null(from + 8);
        const int64_t mode = call.integer(from);
        call.check(mode >= 0 && mode <= 3, "unknown mode ", mode);
        layer.mode = RecurrentMode(mode);
        layer.reverse = call.boolean(from + 9);
        layer.dtype = x.dtype;
        call.check(x.dtype == DType::Float32 || x.dtype == DType::Float64, "takes float32 and float64, got ",
                   name_of(x.dtype));
        meta = x.is_meta();
        const bool lstm = layer.mode == RecurrentMode::Lstm;
        call.check(lstm == (c != nullptr),
                   lstm ? "an LSTM needs a cell state" : "only an LSTM has a cell state");
        call.check(x.ndim() == (sizes           ? 2
                                : x.ndim() == 2 ? 2
                                                : 3),
                   "expected an input of steps, batch and features, or "
                   "packed rows with batch sizes, got shape ",
                   str(x.sizes));
        call.check(h.ndim() == 2, "expected a hidden state (batch, features), got shape ", str(h.sizes));
        const int64_t batch = h.sizes[0], hidden = h.sizes[1], features = x.sizes.back();
        layer.hidden = hidden;
        layer.features = features;
        const int64_t gate_rows = weight_gates(layer.mode) * hidden;
        call.check(hidden < (int64_t(1) << 40), "a hidden state of ", hidden, " features is too large");
        check_sizes(call, "cell state", c, h.sizes);
        if (wi.ndim() != 2 || wi.sizes[1] != features)
            call.fail(ErrorKind::Runtime, "mat1 and mat2 shapes cannot be multiplied (",
                      x.numel / std::max<int64_t>(features, 1), "x", features, " and ",
                      wi.ndim() == 2 ? wi.sizes[1] : 0, "x", wi.sizes.size() ? wi.sizes[0] : 0, ")");
        check_sizes(call, "weight_ih", &wi, {gate_rows, features});
        check_sizes(call, "weight_hh", &wh, {gate_rows, hidden});
        check_sizes(call, "bias_ih", bi, {gate_rows});
        check_sizes(call, "bias_hh", bh, {gate_rows});
        for (Tensor* t : {&h, c, &wi, &wh, bi, bh}) {
            if (!t) continue;
            call.check(t->dtype == x.dtype, "mat1 and mat2 must have the same dtype, but got ",
                       info(x.dtype).class_name, " and ", info(t->dtype).class_name);
            call.check(t->is_meta() == meta, "expected all tensors on one device");
        }
        set_rows(call, x, sizes, batch);
        output_sizes = x.sizes;
        output_sizes[x.ndim() - 1] = hidden;
        state_sizes = h.sizes;
        if (meta) return;
        input = dense(x, x.dtype);
        hx = dense(h, x.dtype);
        cx = dense_or_null(c, x.dtype);
        w_ih = dense(wi, x.dtype);
        w_hh = dense(wh, x.dtype);
        b_ih = dense_or_null(bi, x.dtype);
        b_hh = dense_or_null(bh, x.dtype);
        layer.input = data_of(input);
        layer.w_ih = data_of(w_ih);
        layer.w_hh = data_of(w_hh);
    }
    bool nothing() const { return layer.total == 0 || layer.hidden == 0; }
    // Work that is worth letting other threads of the program run.
    bool long_work() const {
        return double(layer.total) * double(layer.hidden) * double(layer.hidden) > kNnGrain * 16;
    }
    Dims kept_sizes() const { return {layer.total, kept_gates(layer.mode) * layer.hidden}; }

    RecurrentLayer layer{};
    bool meta;
    Tensor* input_tensor;
    Dims output_sizes, state_sizes;
    TensorRef input, hx, cx, w_ih, w_hh, b_ih, b_hh;

  private:
    static void check_sizes(const Call& call, const char* what, Tensor* t, const Dims& sizes) {
        call.check(!t || t->sizes == sizes, "expected ", what, " of shape ", str(sizes), ", got ",
                   t ? str(t->sizes) : "");
    }
    void set_rows(const Call& call, Tensor& x, Tensor* sizes, int64_t batch) {
        if (!sizes) {
            layer.steps = x.ndim() == 3 ? x.sizes[0] : 1;
            const int64_t found = x.sizes[x.ndim() - 2];
            if (found != batch)
                call.fail(ErrorKind::Runtime, "The size of tensor a (", batch,
                          ") must match the size of tensor b (", found, "): a hidden state for a batch of ",
                          batch, " and an input of shape ", str(x.sizes));
            call.check(!__builtin_mul_overflow(layer.steps, batch, &layer.total), "an input of shape ",
                       str(x.sizes), " has too many rows");
            if (layer.total && !meta) rows_.assign(size_t(layer.steps), batch);
        } else {
            call.check(sizes->dtype == DType::Int64 && sizes->ndim() == 1 && !sizes->is_meta(),
                       "batch_sizes should be a 1D CPU int64 tensor");
            TensorRef own = own_indices(*sizes);
            layer.steps = sizes->numel;
            if (layer.steps) rows_.assign(data_of<int64_t>(own), data_of<int64_t>(own) + layer.steps);
            for (size_t i = 0; i < rows_.size(); ++i) {
                call.check(rows_[i] > 0 && rows_[i] <= (i ? rows_[i - 1] : batch),
                           "batch_sizes must be positive and must not increase from ", batch, ", but step ",
                           i, " has ", rows_[i]);
                layer.total += rows_[i];
            }
            call.check(rows_.empty() || rows_[0] == batch, "the first step has ",
                       rows_.empty() ? 0 : rows_[0], " rows, the hidden state ", batch);
            call.check(layer.total == x.sizes[0], "batch_sizes add up to ", layer.total, ", but there are ",
                       x.sizes[0], " rows");
        }
        call.check(layer.steps > 0, "Expected sequence length to be larger than 0 in RNN");
        layer.rows = rows_.data();
    }
    std::vector<int64_t> rows_;
};

TensorRef bytes(int64_t n) { return empty({n}, DType::UInt8); }

PyObject* recurrent(Call& call) {
    Arguments a(call, 0);
    const RecurrentLayer& l = a.layer;
    const bool lstm = l.mode == RecurrentMode::Lstm, keeps = kept_gates(l.mode) > 1;
    const DeviceType device = a.meta ? DeviceType::Meta : DeviceType::Cpu;
    TensorRef output = empty(a.output_sizes, l.dtype, device), hidden, cell, gates, cells;
    if (keeps) gates = empty(a.kept_sizes(), l.dtype, device);
    if (lstm) cells = empty({l.total, l.hidden}, l.dtype, device);
    if (a.meta) {
        hidden = empty(a.state_sizes, l.dtype, device);
        if (lstm) cell = empty(a.state_sizes, l.dtype, device);
        return call.results({output, hidden, cell, gates, cells});
    }
    hidden = clone(*a.hx, MemoryFormat::Contiguous);
    if (lstm) cell = clone(*a.cx, MemoryFormat::Contiguous);
    if (a.nothing()) return call.results({output, hidden, cell, gates, cells});
    TensorRef workspace = bytes(recurrent_workspace(l, false));
    const void *b_ih = data_of(a.b_ih), *b_hh = data_of(a.b_hh);
    void *h = data_of(hidden), *c = data_of(cell), *o = data_of(output), *g = data_of(gates),
         *kept = data_of(cells), *w = data_of(workspace);
    {
        Unlocked unlocked(a.long_work());
        recurrent_forward(l, b_ih, b_hh, h, c, o, g, kept, w);
    }
    return call.results({output, hidden, cell, gates, cells});
}

// grad_output, grad_hidden, grad_cell, then what `recurrent` takes, then output, gates, cells, mask
PyObject* recurrent_backward(Call& call) {
    Tensor *grad_output = call.tensor_or_null(0), *grad_hidden = call.tensor_or_null(1),
           *grad_cell = call.tensor_or_null(2);
    Arguments a(call, 3);
    const RecurrentLayer& l = a.layer;
    Tensor &output = call.tensor(13), *gates = call.tensor_or_null(14), *cells = call.tensor_or_null(15);
    const int64_t mask = call.integer(16);
    const bool lstm = l.mode == RecurrentMode::Lstm, keeps = kept_gates(l.mode) > 1;
    const DeviceType device = a.meta ? DeviceType::Meta : DeviceType::Cpu;
    call.check(output.sizes == a.output_sizes && keeps == (gates != nullptr) && lstm == (cells != nullptr) &&
                   (!gates || gates->sizes == a.kept_sizes()) &&
                   (!cells || cells->sizes == Dims({l.total, l.hidden})),
               "what the forward operator kept does not fit its arguments");
    call.check((!grad_output || grad_output->sizes == a.output_sizes) &&
                   (!grad_hidden || grad_hidden->sizes == a.state_sizes) &&
                   (!grad_cell || (lstm && grad_cell->sizes == a.state_sizes)),
               "the gradients do not have the shapes of the outputs");
    const int64_t rows = weight_gates(l.mode) * l.hidden;
    const auto wanted = [&](int64_t bit, const Dims& sizes) {
        return mask & bit ? empty(sizes, l.dtype, device) : TensorRef();
    };
    TensorRef d_input = wanted(kGradInput, a.input_tensor->sizes),
              d_w_ih = wanted(kGradWih, {rows, l.features}), d_w_hh = wanted(kGradWhh, {rows, l.hidden}),
              d_b_ih = wanted(kGradBih, {rows}), d_b_hh = wanted(kGradBhh, {rows});
    const auto state_gradient = [&](Tensor* given) {
        if (given && !a.meta) {
            TensorRef same = cast(*given, l.dtype);
            return clone(*same, MemoryFormat::Contiguous);
        }
        TensorRef made = empty(a.state_sizes, l.dtype, device);
        if (!a.meta) fill(*made, Scalar(0.0));
        return made;
    };
    TensorRef d_hidden = state_gradient(grad_hidden), d_cell;
    if (lstm) d_cell = state_gradient(grad_cell);
    const auto results = [&] {
        return call.results({d_input, mask & kGradHidden ? d_hidden : TensorRef(),
                             mask & kGradCell ? d_cell : TensorRef(), d_w_ih, d_w_hh, d_b_ih, d_b_hh});
    };
    if (a.meta) return results();
    if (a.nothing()) {
        for (TensorRef* t : {&d_input, &d_w_ih, &d_w_hh, &d_b_ih, &d_b_hh})
            if (*t) fill(**t, Scalar(0.0));
        return results();
    }
    const int64_t chunk_rows = recurrent_chunk_rows(l);
    TensorRef grads = dense_or_null(grad_output, l.dtype), out = dense(output, l.dtype),
              kept_gate = dense_or_null(gates, l.dtype), kept_cells = dense_or_null(cells, l.dtype),
              grad_gates = empty({2 * chunk_rows, kept_gates(l.mode) * l.hidden}, l.dtype),
              previous = empty({chunk_rows, l.hidden}, l.dtype),
              workspace = bytes(recurrent_workspace(l, true));
    const RecurrentBackward b{
        data_of(grads),      data_of(a.hx),       data_of(a.cx),     data_of(out),
        data_of(kept_gate),  data_of(kept_cells), data_of(d_hidden), data_of(d_cell),
        data_of(grad_gates), data_of(previous),   data_of(d_input),  data_of(d_w_ih),
        data_of(d_w_hh),     data_of(d_b_ih),     data_of(d_b_hh),   (mask & kGradHidden) != 0};
    void* w = data_of(workspace);
    {
        Unlocked unlocked(a.long_work());
        recurrent_backward(l, b, w);
    }
    return results();
}

}  // namespace

FLB_OPS({"_recurrent", recurrent}, {"_recurrent_backward", recurrent_backward});

}  // namespace flb
