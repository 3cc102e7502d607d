"""Trains networks of PyTorch, exports them with torch.onnx.export, and stores what they predict: FOLDER/NAME.onnx and FOLDER/torch.json.

Runs in a process of its own (notebook.py): PyTorch comes with another numpy than the other libraries."""
import inspect
import json
import pathlib
import sys
import warnings

import torch
from torch import nn

FOLDER = pathlib.Path(sys.argv[1])
COLUMNS, ROWS = 4, 200


class Net(nn.Module):
    """As people write them: layers in the constructor, calls in forward()."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(COLUMNS)
        self.first, self.drop, self.last = nn.Linear(COLUMNS, 12), nn.Dropout(0.2), nn.Linear(12, 1)

    def forward(self, x):
        return self.last(self.drop(torch.tanh(self.first(self.norm(x)))))


def networks():
    """Name, network, loss and kind of target."""
    yield "classifier", nn.Sequential(nn.BatchNorm1d(COLUMNS), nn.Linear(COLUMNS, 16), nn.ReLU(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3),
                                      nn.Softmax(dim=1)), "class"
    yield "yes_or_no", nn.Sequential(nn.BatchNorm1d(COLUMNS), nn.Linear(COLUMNS, 8), nn.Sigmoid(), nn.Linear(8, 1), nn.Sigmoid()), "two"
    yield "regression", Net(), "number"
    yield "sequential_regression", nn.Sequential(nn.Linear(COLUMNS, 10), nn.ReLU(), nn.Dropout(0.1), nn.Linear(10, 10), nn.GELU(), nn.Linear(10, 2)), "numbers"


def others():
    """Networks that are no perceptron of ours: further activations, a residual block, LayerNorm as PyTorch 1.13 writes it out."""
    yield "activations", nn.Sequential(nn.Linear(COLUMNS, 10), nn.LeakyReLU(0.1), nn.Linear(10, 10), nn.ELU(), nn.Linear(10, 10), nn.SELU(), nn.Linear(10, 10), nn.Hardswish(),
                                       nn.Linear(10, 10), nn.Softplus(), nn.Linear(10, 10), nn.ReLU6(), nn.Linear(10, 10), nn.PReLU(10), nn.Linear(10, 10), nn.SiLU(),
                                       nn.Linear(10, 10), nn.Softsign(), nn.Linear(10, 10), nn.Hardsigmoid(), nn.Linear(10, 10), nn.Mish(), nn.Linear(10, 2)), "numbers"
    yield "log_softmax", nn.Sequential(nn.Linear(COLUMNS, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(dim=1)), "log"
    yield "residual", Residual(), "number"


class Residual(nn.Module):
    """Two blocks that add to what they read, LayerNorm between."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(COLUMNS, 8), nn.LayerNorm(8), nn.Linear(8, 1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(2))

    def forward(self, x):
        x = torch.relu(self.first(x))
        for block in self.blocks:
            x = self.norm(x + block(x))
        return self.last(x)


def data():
    cloud = torch.randint(0, 3, (ROWS,))
    x = torch.tensor([[0.0, 5, 1, -2], [2, 7, 1, 1], [3, 4, 1, 0]])[cloud] + torch.randn(ROWS, COLUMNS) * torch.tensor([1, 1.5, 0.2, 1])
    y = x @ torch.tensor([2.0, -0.3, 1.0, 1.0])
    return x, {"log": cloud, "class": cloud, "two": (cloud == 1).float()[:, None], "number": y[:, None], "numbers": torch.stack([y, 1 - y], 1)}


def train(net, x, target, kind):
    loss = {"log": lambda p: nn.functional.nll_loss(p, target), "class": lambda p: nn.functional.nll_loss(p.clamp_min(1e-9).log(), target), "two": lambda p: nn.functional.binary_cross_entropy(p, target)}
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        found = net(x)
        loss.get(kind, lambda p: nn.functional.mse_loss(p, target))(found).backward()
        optimizer.step()
    return net.eval()


def told(name, net, x, kind):
    """What the model says of every row, and how large its logits are."""
    with torch.no_grad():
        y = net(x)
    if kind == "class":
        return {"scores": y.tolist(), "classes": [str(c) for c in y.argmax(1).tolist()], "size": y.log().abs().max(1).values.clamp_min(1).tolist()}
    if kind == "two":
        p = torch.cat([1 - y, y], 1)
        return {"scores": p.tolist(), "classes": [str(int(v > 0.5)) for v in y[:, 0].tolist()], "size": p.log().abs().max(1).values.clamp_min(1).tolist()}
    return {"scores": y.tolist(), "size": [max(1.0, float(y.abs().max()))] * len(x)}


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(20261122)
    torch.set_num_threads(1)
    x, targets = data()
    more = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    models = []
    for turn, (name, net, kind) in enumerate([*networks(), *others()]):
        train(net, x, targets[kind], kind)
        torch.onnx.export(net, x[:1], str(FOLDER / f"{name}.onnx"), input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "rows"}, "y": {0: "rows"}}, **more)
        models.append({"name": name, "kind": "mlp" if turn < len(list(networks())) else "graph", **told(name, net, x, kind)})
    (FOLDER / "torch.json").write_text(json.dumps({"torch": torch.__version__, "x": x.tolist(), "models": models}))


main()
