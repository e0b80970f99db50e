"""Hooks that average a bucket of gradients, in its own dtype or in a shorter one."""

import flambeau
import flambeau.distributed as dist

__all__ = [
    "allreduce_hook",
    "bf16_compress_hook",
    "bf16_compress_wrapper",
    "fp16_compress_hook",
    "fp16_compress_wrapper",
]


def _average(process_group, tensor):
    group = dist.group.WORLD if process_group is None else process_group
    tensor.div_(group.size())
    future = dist.all_reduce(tensor, group=group, async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


def allreduce_hook(process_group, bucket):
    """Average the gradients, as is done without a hook."""
    return _average(process_group, bucket.buffer())


def _compressed(process_group, bucket, dtype):
    buffer = bucket.buffer()
    return _average(process_group, buffer.to(dtype)).then(lambda done: buffer.copy_(done.value()))


def fp16_compress_hook(process_group, bucket):
    """Average the gradients in float16: half the bytes of float32, and less precise."""
    return _compressed(process_group, bucket, flambeau.float16)


def bf16_compress_hook(process_group, bucket):
    """Average the gradients in bfloat16."""
    return _compressed(process_group, bucket, flambeau.bfloat16)


def _wrapper(hook, dtype):
    def compressed(state, bucket):
        whole = bucket._bucket.flat
        bucket._bucket.flat = whole.to(dtype)
        try:
            future = hook(state, bucket)
        finally:
            bucket._bucket.flat = whole
        return future.then(lambda done: whole.copy_(_first(done.value())))

    return compressed


def _first(value):
    return value[0] if isinstance(value, (list, tuple)) else value


def fp16_compress_wrapper(hook):
    """`hook`, on float16 gradients."""
    return _wrapper(hook, flambeau.float16)


def bf16_compress_wrapper(hook):
    """`hook`, on bfloat16 gradients."""
    return _wrapper(hook, flambeau.bfloat16)
