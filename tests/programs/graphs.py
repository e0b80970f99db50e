"""PyTorch Geometric: layers that pass messages, pooling and sampling of batches of graphs; torchmetrics: how good they are.

`python graphs.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import sys
import warnings

import torch
import torch_geometric.nn as gnn
import torchmetrics
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.utils import add_self_loops, coalesce, degree, softmax, to_dense_adj, to_undirected

warnings.simplefilter("ignore")

LAYERS = {
    "GCNConv": lambda: gnn.GCNConv(4, 8),
    "GATConv": lambda: gnn.GATConv(4, 4, heads=2),
    "GATv2Conv": lambda: gnn.GATv2Conv(4, 4, heads=2),
    "SAGEConv": lambda: gnn.SAGEConv(4, 8, aggr=["mean", "max", "std"]),
    "GINConv": lambda: gnn.GINConv(gnn.MLP([4, 8, 8]), train_eps=True),
    "TransformerConv": lambda: gnn.TransformerConv(4, 4, heads=2, beta=True),
    "PNAConv": lambda: gnn.PNAConv(
        4, 8, ["mean", "min", "max"], ["identity", "amplification"], torch.tensor([0, 3, 2])
    ),
    "ChebConv": lambda: gnn.ChebConv(4, 8, K=3),
}


def graph(seed, nodes=12):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, nodes, (2, 20), generator=generator)
    x = torch.randn(nodes, 4, generator=generator)
    return Data(x=x, edge_index=to_undirected(edges), y=(x.sum(1) > 0).long())


def layers():
    found, data = {}, graph(0)
    for name, make in LAYERS.items():
        torch.manual_seed(1)
        layer = make()
        output = layer(data.x, data.edge_index)
        output.square().mean().backward()
        gradients = sum(float(p.grad.double().abs().sum()) for p in layer.parameters() if p.grad is not None)
        found[name] = [output.flatten()[:20].tolist(), gradients]
    return found


def helpers():
    data = graph(2)
    edges, weights = coalesce(data.edge_index.flip(1), torch.ones(data.num_edges), reduce="sum")
    looped, _ = add_self_loops(edges, num_nodes=data.num_nodes)
    mixed = HeteroData()
    mixed["user"].x, mixed["item"].x = data.x[:5], data.x[5:]
    mixed["user", "buys", "item"].edge_index = torch.tensor([[0, 1, 4], [0, 6, 2]])
    return {
        "degree": degree(edges[0], data.num_nodes).tolist(),
        "adjacency": float(to_dense_adj(looped).sum()),
        "softmax": softmax(weights, edges[1], num_nodes=data.num_nodes).tolist(),
        "mixed": [mixed.node_types, mixed["user", "item"].edge_index.tolist(), mixed.num_nodes],
    }


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = gnn.GraphSAGE(4, 16, num_layers=2, norm="batch", jk="cat")
        self.pool, self.head = gnn.TopKPooling(16, ratio=0.6), torch.nn.Linear(32, 2)

    def forward(self, batch):
        x = self.body(batch.x, batch.edge_index).relu()
        x, _, _, index, _, _ = self.pool(x, batch.edge_index, batch=batch.batch)
        return self.head(torch.cat([gnn.global_mean_pool(x, index), gnn.global_max_pool(x, index)], 1))


def training():
    torch.manual_seed(0)
    graphs = [graph(i) for i in range(24)]
    for each in graphs:
        each.y = (each.y.float().mean() > 0.5).long()
    model, metrics = Classifier(), {}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scores = torchmetrics.MetricCollection(
        {
            "accuracy": torchmetrics.classification.MulticlassAccuracy(2),
            "auroc": torchmetrics.classification.MulticlassAUROC(2),
            "f1": torchmetrics.classification.MulticlassF1Score(2, average="none"),
            "confusion": torchmetrics.classification.MulticlassConfusionMatrix(2),
            "calibration": torchmetrics.classification.MulticlassCalibrationError(2),
        }
    )
    losses = torchmetrics.MeanMetric()
    for epoch in range(3):
        for batch in DataLoader(graphs, batch_size=8, shuffle=True):
            optimizer.zero_grad()
            output = model(batch)
            loss = torch.nn.functional.cross_entropy(output, batch.y)
            loss.backward()
            optimizer.step()
            losses.update(loss.detach(), weight=len(batch.y))
            scores.update(output.detach().softmax(1), batch.y)
        metrics[str(epoch)] = {name: value.tolist() for name, value in scores.compute().items()}
        metrics[str(epoch)]["loss"] = float(losses.compute())
        scores.reset(), losses.reset()
    return metrics


if __name__ == "__main__":
    found = {"layers": layers(), "helpers": helpers(), "training": training()}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=0)
