"""Where PyTorch keeps quantization."""
