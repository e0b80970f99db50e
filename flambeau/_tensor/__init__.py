"""The Python half of the Tensor type: printing, pickling and copying."""
