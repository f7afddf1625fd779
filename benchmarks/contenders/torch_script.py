"""The article's network and training in plain PyTorch, reading the prepared arrays.

python benchmarks/contenders/torch_script.py data/prepared [--epochs 10] [--channels-last] [--bfloat16] [--threads 2]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

BATCH = 32


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x_train, x_test = (
        torch.from_numpy(np.load(options.prepared / f"{part}_images.npy", allow_pickle=False)).permute(0, 3, 1, 2)
        for part in ("train", "test")
    )
    y_train, y_test = (
        torch.from_numpy(np.load(options.prepared / f"{part}_labels.npy", allow_pickle=False)).long()
        for part in ("train", "test")
    )
    x_train, x_test = x_train.float() / 255, x_test.float() / 255
    model = network()
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
        x_train = x_train.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7)
    loss_of = nn.CrossEntropyLoss()
    started = time.perf_counter()
    for _ in range(options.epochs):
        for chosen in torch.randperm(len(x_train)).split(BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
                loss = loss_of(model(x_train[chosen]), y_train[chosen])
            loss.backward()
            optimizer.step()
    print(f"fit: {time.perf_counter() - started:.3f} s")
    with torch.no_grad():
        correct = sum(
            int((model(images).argmax(1) == labels).sum())
            for images, labels in zip(x_test.split(256), y_test.split(256), strict=True)
        )
    print(f"test accuracy: {correct / len(y_test):.4f}")


if __name__ == "__main__":
    main()
