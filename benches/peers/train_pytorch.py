#!/usr/bin/env python3
"""Images a second of the trainings of `train_rate`, in PyTorch on the CPU: the same networks, batches and optimiser.

    benches/peers/setup.sh /tmp/peers                   # PyTorch among others; or pip install torch numpy
    /tmp/peers/bin/python benches/peers/train_pytorch.py [--case mlp-128] [--threads 1,2] [--networks 1,2]

Prints one JSON object a line with the keys of `train_rate --json`: the median of some rounds, the lowest and the
highest, and microseconds of processor time per image. The data lie in memory as bytes, in an order drawn anew for each
epoch; a step gathers a batch, makes numbers of it, computes loss and gradient, updates with SGD (momentum 0.9, PyTorch's
default implementation) and adds up loss and right answers, as the product's loop does. With `--bare` batches lie ready
and nothing is added up. Two networks side by side are two processes with as many threads each as said.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

EXAMPLES = {"mlp": 60_000, "cnn": 2_000, "resnet20": 2_000}
CASES = ["mlp-128", "mlp-500", "cnn-128", "resnet20-128"]
RATE, MOMENTUM = 1e-3, 0.9
# Batches that `--bare` goes round.
READY = 4
# Steps in front of the measured ones.
WARM = 4


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def cnn():
    layers, channels = [], 3
    for width in (16, 32, 64):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 10))


class Block(nn.Module):
    """Two convolutions beside a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = nn.Identity()
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            layers.append(Block(before, width, stride if index == 0 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Training:
    """A network, its optimiser and its data."""

    def __init__(self, case, bare):
        name, batch = case.split("-")
        self.batch, self.bare = int(batch), bare
        self.model = {"mlp": mlp, "cnn": cnn, "resnet20": resnet20}[name]()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)
        shape = (1, 28, 28) if name == "mlp" else (3, 32, 32)
        self.images = torch.randint(0, 256, (EXAMPLES[name], *shape), dtype=torch.uint8)
        self.labels = torch.arange(EXAMPLES[name]) % 10
        self.order, self.at = torch.randperm(EXAMPLES[name]), 0
        self.loss_sum, self.correct = 0.0, 0
        self.ready = [self.make() for _ in range(READY)] if bare else []

    def make(self):
        if self.at + self.batch > len(self.order):
            self.order, self.at = torch.randperm(len(self.order)), 0
        indices = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        return self.images[indices].float().div_(255), self.labels[indices]

    def steps(self, count):
        for step in range(count):
            images, labels = self.ready[step % READY] if self.bare else self.make()
            self.optimizer.zero_grad(set_to_none=True)
            outputs = self.model(images)
            loss = functional.cross_entropy(outputs, labels)
            loss.backward()
            self.optimizer.step()
            if not self.bare:
                self.loss_sum += loss.item() * len(labels)
                self.correct += (outputs.argmax(1) == labels).sum().item()


def work(case, bare, threads, pipe):
    """A process of several side by side: takes steps when told how many, answers with its processor time."""
    torch.set_num_threads(threads)
    training = Training(case, bare)
    training.steps(WARM)
    pipe.send(None)
    while (count := pipe.recv()) > 0:
        before = time.process_time()
        training.steps(count)
        pipe.send(time.process_time() - before)


def measure(case, networks, threads, arguments):
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(networks):
        own, other = context.Pipe()
        process = context.Process(target=work, args=(case, arguments.bare, threads, other), daemon=True)
        process.start()
        pipes.append(own)
        processes.append(process)

    def run(count):
        """Wall and processor seconds."""
        begun = time.perf_counter()
        for pipe in pipes:
            pipe.send(count)
        cpu = sum(pipe.recv() for pipe in pipes)
        return time.perf_counter() - begun, cpu

    for pipe in pipes:
        pipe.recv()
    steps = max(2, int(arguments.seconds / (run(WARM)[0] / WARM)))
    costs = [run(steps) for _ in range(arguments.rounds)]
    for pipe, process in zip(pipes, processes):
        pipe.send(0)
        process.join()
    images = steps * networks * int(case.split("-")[1])
    rates = [images / wall for wall, _ in costs]
    return {
        "case": case,
        "loop": "pytorch-bare" if arguments.bare else "pytorch",
        "networks": networks,
        "threads": threads,
        "images_per_second": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "cpu_us_per_image": statistics.median(1e6 * cpu / images for _, cpu in costs),
        "steps": steps,
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser.add_argument("--case", action="append", choices=CASES, help="which cases (all)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="threads of a network (1,2)")
    parser.add_argument("--networks", type=numbers, default=[1], help="networks side by side (1)")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a measurement takes (2)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row (3)")
    parser.add_argument("--bare", action="store_true", help="the steps alone, on batches that lie ready")
    arguments = parser.parse_args()
    if min(arguments.rounds, *arguments.threads, *arguments.networks) < 1:
        parser.error("rounds, threads and networks are at least 1")
    for case in arguments.case or CASES:
        for networks in arguments.networks:
            for threads in arguments.threads:
                print(json.dumps(measure(case, networks, threads, arguments)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
