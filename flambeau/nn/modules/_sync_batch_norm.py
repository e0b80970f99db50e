"""Batch normalisation whose statistics are those of the batches of all processes together."""

import flambeau
import flambeau.distributed as dist


def sync_batch_norm(input, weight, bias, running_mean, running_var, eps, momentum, group):
    """Normalise (N, C, ...) by mean and variance over all processes of a group, and update the running statistics."""
    return _SyncBatchNorm.apply(input, weight, bias, running_mean, running_var, eps, momentum, group)


def _per_channel(vector, like):
    return vector.view(1, -1, *[1] * (like.dim() - 2))


class _SyncBatchNorm(flambeau.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias, running_mean, running_var, eps, momentum, group):
        channels, dims = input.size(1), [0, *range(2, input.dim())]
        x = input if input.dtype is flambeau.float64 else input.float()
        count = input.numel() // channels
        if count:
            var, mean = flambeau.var_mean(x, dims, correction=0)
        else:
            var = mean = x.new_zeros(channels)
        # Everybody's mean, variance and count; the means differ little, so that what is squared below is small.
        own = flambeau.cat([mean, var, mean.new_tensor([float(count)])])
        parts = own.new_empty(group.size(), own.numel())
        dist.all_gather_single(parts, own, group)
        means, variances = parts[:, :channels], parts[:, channels:-1]
        counts = parts[:, -1:]
        total = counts.sum()
        if float(total) <= 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(input.shape)}"
            )
        mean = (means * counts).sum(0) / total
        var = ((variances + (means - mean) ** 2) * counts).sum(0) / total
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = var * (total / (total - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        inverse = (var + eps).rsqrt()
        normal = (x - _per_channel(mean, x)) * _per_channel(inverse, x)
        ctx.save_for_backward(input, weight, mean, inverse, total)
        ctx.group, ctx.has_bias = group, bias is not None
        if weight is not None:
            normal = normal * _per_channel(weight.to(x.dtype), x)
        if bias is not None:
            normal = normal + _per_channel(bias.to(x.dtype), x)
        return normal.to(input.dtype)

    @staticmethod
    def backward(ctx, grad):
        input, weight, mean, inverse, total = ctx.saved_tensors
        dims = [0, *range(2, input.dim())]
        dtype = mean.dtype
        g = grad.to(dtype)
        centred = input.to(dtype) - _per_channel(mean, input)
        of_bias, of_weight = g.sum(dims), (g * centred).sum(dims) * inverse
        grad_input = None
        if ctx.needs_input_grad[0]:
            sums = flambeau.cat([of_bias, of_weight])  # which are those of this process alone
            dist.all_reduce(sums, group=ctx.group)
            mean_g, mean_gx = (sums / total).chunk(2)
            inner = g - _per_channel(mean_g, g) - centred * _per_channel(mean_gx * inverse, g)
            scale = inverse if weight is None else inverse * weight.to(dtype)
            grad_input = (inner * _per_channel(scale, g)).to(input.dtype)
        grad_weight = of_weight.to(weight.dtype) if weight is not None and ctx.needs_input_grad[1] else None
        grad_bias = of_bias.to(grad.dtype if weight is None else weight.dtype) if ctx.has_bias else None
        return grad_input, grad_weight, grad_bias, None, None, None, None, None
