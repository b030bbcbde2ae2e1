"""The four experiments of Margossian & Blei (2024) in PyTorch, as a user writes them: factorised Gaussian q, the ELBO averaged over draws u = mean + sd eps, its
gradient by autograd, Adam.

  torch_vi.py linear|saw|nonlinear|network STEPS THREADS [DATA.json]  ->  seconds of processor time and seconds, per step, of the fastest tenth of the steps

The first three: F-VI, 100 draws, all data. network: 1000 images of 784 pixels a step, an encoder of width 64 for the batch's codes, 10 draws, Gaussian factors
for all weights of the decoder 64-256-256-784; images are random numbers, which take as long as others.
"""
import json
import math
import sys
import time

import torch


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - (math.log(sd) if isinstance(sd, float) else torch.log(sd))


def factor(*shape):
    return torch.zeros(shape, requires_grad=True), torch.full(shape, -1.0, requires_grad=True)


def draw(q, draws):
    mean, log_sd = q
    return mean + torch.exp(log_sd) * torch.randn(draws, *mean.shape)


def small_model(name, x):
    """A function that computes minus the ELBO, and the parameters."""
    theta, z = factor(1), factor(len(x))
    before = torch.cat([torch.zeros(1), x[:-1]])

    def loss():
        t, u = draw(theta, 100), draw(z, 100)
        if name == "linear":
            log_joint = normal(t, 0.0, 100.0).sum(1) + normal(u, 0.0, 1.0).sum(1) + normal(x, t + 1.155 * u, 2.43).sum(1)
        elif name == "saw":
            log_joint = normal(t, 0.0, 10.0).sum(1) + normal(u, before, 1.0).sum(1) + normal(x, 0.75 * (u + t), 1.0).sum(1)
        else:
            log_joint = normal(u, 0.0, 1.0).sum(1) + normal(x, t + torch.sin(u) * u + u, torch.exp(torch.cos(u))).sum(1)
        return -(log_joint.mean() + theta[1].sum() + z[1].sum())

    return loss, [*theta, *z]


def network():
    x, images, codes, hidden, draws = torch.randn(1000, 784), 60000, 64, 256, 10
    encoder = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2 * codes))
    shapes = [(hidden, codes), (hidden,), (hidden, hidden), (hidden,), (784, hidden), (784,)]
    weights = [factor(*s) for s in shapes]
    relu = torch.nn.LeakyReLU(0.2)

    def loss():
        mean, log_sd = encoder(x).chunk(2, 1)
        z = mean + torch.exp(log_sd) * torch.randn(draws, *mean.shape)
        w1, b1, w2, b2, w3, b3 = (draw(w, draws) for w in weights)
        h = relu(z @ w1.transpose(1, 2) + b1[:, None])
        h = relu(h @ w2.transpose(1, 2) + b2[:, None])
        inside = normal(z, 0.0, 1.0).sum() + normal(x, h @ w3.transpose(1, 2) + b3[:, None], 1.0).sum()
        outside = sum(normal(w, 0.0, 1.0).sum() for w in (w1, b1, w2, b2, w3, b3))
        entropy = images / 1000 * log_sd.sum() + sum(s.sum() for _, s in weights)
        return -((images / 1000 * inside + outside) / draws + entropy)

    return loss, [*encoder.parameters(), *(p for w in weights for p in w)]


def main():
    name, steps, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    if name == "network":
        loss, parameters = network()
    else:
        torch.set_default_dtype(torch.float64)
        with open(sys.argv[4]) as file:
            loss, parameters = small_model(name, torch.tensor(json.load(file)["x"]))
    optimiser = torch.optim.Adam(parameters, lr=0.01)
    cpu, wall = [], []
    for _ in range(steps):
        began, began_cpu = time.perf_counter(), time.process_time()
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    print(f"{sorted(cpu)[steps // 10]:.9f} {sorted(wall)[steps // 10]:.9f}")


main()
