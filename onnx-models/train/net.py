"""A few neural network layers in numpy, float64, enough to train the small models of this folder.

Everything is computed in float64 and the trained weights are rounded to a grid (`snap`), so that the last bits of
another processor's linear algebra do not reach the ONNX files.
"""

from dataclasses import dataclass, field

import numpy as np

GRID = 2.0**-10


def snap(weights: np.ndarray, grid: float = GRID) -> np.ndarray:
    """Rounds to multiples of `grid` and narrows to float32."""
    return (np.round(np.asarray(weights) / grid) * grid).astype(np.float32)


class Dense:
    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int):
        self.params = [rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)), np.zeros(outputs)]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, gradient):
        self.gradients = [self.x.T @ gradient, gradient.sum(axis=0)]
        return gradient @ self.params[0].T


class Relu:
    params = gradients = ()

    def forward(self, x):
        self.on = x > 0
        return x * self.on

    def backward(self, gradient):
        return gradient * self.on


class Conv3x3:
    """Convolution with one pixel of zero padding; weights [out, in, 3, 3] as ONNX's Conv has them."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int):
        scale = np.sqrt(2 / (inputs * 9))
        self.params = [rng.normal(0, scale, (outputs, inputs, 3, 3)), np.zeros(outputs)]

    def forward(self, x):
        self.shape = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        n, c, h, w = x.shape
        self.columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, c * 9)
        flat = self.columns @ self.params[0].reshape(-1, c * 9).T + self.params[1]
        return flat.reshape(n, h, w, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient):
        n, c, h, w = self.shape
        flat = gradient.transpose(0, 2, 3, 1).reshape(n * h * w, -1)
        weights = self.params[0].reshape(-1, c * 9)
        self.gradients = [(flat.T @ self.columns).reshape(self.params[0].shape), flat.sum(axis=0)]
        columns = (flat @ weights).reshape(n, h, w, c, 3, 3)
        padded = np.zeros((n, c, h + 2, w + 2))
        for i in range(3):
            for j in range(3):
                padded[:, :, i : i + h, j : j + w] += columns[..., i, j].transpose(0, 3, 1, 2)
        return padded[:, :, 1:-1, 1:-1]


class MaxPool2:
    params = gradients = ()

    def forward(self, x):
        n, c, h, w = x.shape
        self.shape = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
        self.winner = blocks.argmax(axis=-1)
        return blocks.max(axis=-1)

    def backward(self, gradient):
        n, c, h, w = self.shape
        blocks = (np.arange(4) == self.winner[..., None]) * gradient[..., None]
        blocks = blocks.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return blocks.reshape(self.shape)


class Flatten:
    params = gradients = ()

    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient):
        return gradient.reshape(self.shape)


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@dataclass
class Adam:
    """Adam with decoupled weight decay on matrices, and a rate that falls to zero over `steps` as a cosine."""

    rate: float
    decay: float
    steps: int
    step: int = 0
    moments: dict = field(default_factory=dict)

    def update(self, layers):
        self.step += 1
        rate = self.rate * 0.5 * (1 + np.cos(np.pi * self.step / self.steps))
        for layer in layers:
            for i, (param, gradient) in enumerate(zip(layer.params, layer.gradients)):
                m, v = self.moments.get((id(layer), i), (0.0, 0.0))
                m = 0.9 * m + 0.1 * gradient
                v = 0.999 * v + 0.001 * gradient**2
                self.moments[id(layer), i] = m, v
                change = (m / (1 - 0.9**self.step)) / (np.sqrt(v / (1 - 0.999**self.step)) + 1e-8)
                if param.ndim > 1:
                    change = change + self.decay * param
                param -= rate * change


def fit(layers, x, labels, classes, *, seed, epochs, batch, rate, decay, smoothing=0.0):
    """Minimises the cross-entropy of softmax(layers(x)) against `labels`, in place."""
    rng = np.random.default_rng(seed)
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    batches = -(-len(x) // batch)
    adam = Adam(rate, decay, epochs * batches)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), batches):
            out = x[rows]
            for layer in layers:
                out = layer.forward(out)
            gradient = (softmax(out) - targets[rows]) / len(rows)
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            adam.update(layers)


def split(labels, held_out: float, seed: int):
    """Row numbers (training, held out): the same share of every class is held out."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cut = round(len(rows) * held_out)
        test.extend(rows[:cut])
        train.extend(rows[cut:])
    return np.sort(train), rng.permutation(np.sort(test))
