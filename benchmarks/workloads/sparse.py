"""Workloads on sparse tensors: matrices with 20 elements in each of 4000 rows, and tables with sparse gradients."""

from .registry import workload

ROWS, IN_A_ROW = 4000, 20


def _matrix(torch):
    rows = torch.arange(ROWS).repeat_interleave(IN_A_ROW)
    indices = torch.stack((rows, torch.randint(ROWS, (ROWS * IN_A_ROW,))))
    return torch.sparse_coo_tensor(indices, torch.rand(ROWS * IN_A_ROW), (ROWS, ROWS), check_invariants=False)


@workload("sparse csr @ (4000, 64)")
def csr_times_dense(torch):
    matrix, dense = _matrix(torch).coalesce().to_sparse_csr(), torch.rand(ROWS, 64)
    return lambda: matrix @ dense


@workload("sparse coo @ (4000, 64)")
def coo_times_dense(torch):
    matrix, dense = _matrix(torch).coalesce(), torch.rand(ROWS, 64)
    return lambda: matrix @ dense


@workload("sparse csr @ csr")
def csr_times_csr(torch):
    matrix = _matrix(torch).coalesce().to_sparse_csr()
    return lambda: matrix @ matrix


@workload("sparse coalesce, 80k elements")
def coalesce(torch):
    matrix = _matrix(torch)
    return lambda: matrix.coalesce()


@workload("embedding of 4096 in 100k x 64, sparse gradient, SparseAdam")
def embedding_step(torch):
    table = torch.nn.Embedding(100_000, 64, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    indices = torch.randint(100_000, (4096,))

    def step():
        optimizer.zero_grad()
        table(indices).sum().backward()
        optimizer.step()

    return step
