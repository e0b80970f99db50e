// What every operator that makes a tensor of a given size shares: its options, and the default device.
#pragma once
#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

// Where new tensors go when no device is named (torch.set_default_device, `with torch.device(...)`).
DeviceType default_device();
void set_default_device(DeviceType device);

// The common tail of factory signatures: "dtype? dtype=None, layout? layout=None, device? device=None,
// bool? pin_memory=False, bool? requires_grad=False", beginning at parameter `first`. A given out= decides dtype and device.
struct FactoryOptions {
    FactoryOptions(const Call& call, int first, DType fallback);
    PyObject* finish(TensorRef t) const {
        if (requires_grad) t->requires_grad_flag = true;
        return t.release();
    }
    DType dtype;
    DeviceType device;
    bool requires_grad;
};

// The dtype of a tensor that holds `s` when none is named.
DType dtype_of_scalar(const Scalar& s);

// Raises when a tensor of `dtype` cannot be filled with the number.
void check_fits(const Scalar& value, DType dtype);

// The fresh tensor of NAME_like operators: input's layout and device unless the options say otherwise.
TensorRef empty_like_options(const Call& call, const FactoryOptions& options, int first, int format_index);

}  // namespace flb
