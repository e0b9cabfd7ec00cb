#!/usr/bin/env python3
"""Attacks of torchattacks, ART and torch.func on the weights of a checkpoint: the peers of tests/bench/attacks.

  offramp evade attack RUN@last --data DATA --count N --eps 0 --attack pgd --out CLEAN       the images
  torch_attacks.py --what pgd      --checkpoint C --images CLEAN/examples/pgd.npz --mode eager|compiled
  torch_attacks.py --what boundary --checkpoint C --images CLEAN/examples/pgd.npz --count 4
  torch_attacks.py --what records  --checkpoint C --images CLEAN/examples/pgd.npz

pgd: torchattacks 3.5.1, ten steps through the last exit, channels_last, no gradient of a parameter asked for. boundary:
HopSkipJump of ART 1.20, as the membership attack runs it: 10 iterations from init_eval 100, labels by early exit; samples
that it leaves behind leave the batch for the next segment. records: scores, losses, labels and exits by early exit, and the
gradient of each sample's loss by the last layer of the exit it took, by vmap of grad (torch.func). Needs torch 2.15; one
JSON line on stdout.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch
from torch import nn

from torch_evasion import LastExit, images_of, model_of


class EarlyExit(nn.Module):
    """One-hot answers of a net whose samples leave at the first sure exit. Batches of any size."""

    def __init__(self, net, thresholds, classes):
        super().__init__()
        self.net, self.thresholds, self.classes = net, thresholds, classes

    def walk(self, x, visit):
        """visit(rows, exit, linear layer, its input, logits, softmax) for the samples that leave at each exit."""
        net = self.net
        x = x.float()  # ART hands over doubles where numpy is 2
        mean = torch.tensor(net.mean, dtype=x.dtype).view(1, -1, 1, 1)
        std = torch.tensor(net.std, dtype=x.dtype).view(1, -1, 1, 1)
        x = (x - mean) / std
        x = net.init_conv(x) if net.has_stem else x
        rows, e = torch.arange(len(x)), 0
        for block in net.layers:
            x = block(x)
            if block.output is None:
                continue
            seen = {}
            hook = block.output.linear.register_forward_pre_hook(lambda m, i: seen.update(f=i[0]))
            z = block.output(x)
            hook.remove()
            p = z.softmax(1)
            leave = p.max(1).values >= self.thresholds[e]
            if leave.any():
                visit(rows[leave], e, block.output.linear, seen["f"][leave], z[leave], p[leave])
                x, rows = x[~leave], rows[~leave]
            e += 1
            if len(rows) == 0:
                return
        last = net.end_layers[-1]
        seen = {}
        hook = last.register_forward_pre_hook(lambda m, i: seen.update(f=i[0]))
        z = net.end_layers(x)
        hook.remove()
        visit(rows, e, last, seen["f"], z, z.softmax(1))

    def forward(self, x):
        out = torch.zeros(len(x), self.classes)
        with torch.no_grad():
            self.walk(x, lambda rows, e, layer, f, z, p: out.index_copy_(0, rows, p))
        return out


class Floats(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with torch.no_grad():
            return self.net(x.float())


def thresholds_of(checkpoint, exits, threshold):
    import reference_nets
    meta = reference_nets.load_safetensors(checkpoint)[1]
    if threshold is None and meta.get("policy.thresholds"):
        return [float(t) for t in meta["policy.thresholds"].replace(",", " ").split()]
    return [0.9 if threshold is None else threshold] * (exits - 1)


def pgd(a, last, x, y):
    import torchattacks
    for parameter in last.parameters():
        parameter.requires_grad_(False)
    last = last.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    model = torch.compile(last) if a.mode == "compiled" else last
    attack = torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=10, random_start=True)
    attack(x[:a.batch], y[:a.batch])  # compiled or warm
    seconds, made = [], []
    for _ in range(a.rounds):
        start = time.perf_counter()
        made = [attack(x[i:i + a.batch], y[i:i + a.batch]) for i in range(0, len(x), a.batch)]
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        right = torch.cat([last(x[i:i + a.batch]).argmax(1) for i in range(0, len(x), a.batch)]) == y
        wrong = torch.cat([last(m).argmax(1) for m in made]) != y
    return {"mode": a.mode, "batch": a.batch, "seconds": seconds, "images_per_s": len(x) / min(seconds),
            "right": int(right.sum()), "fooled": int((right & wrong).sum())}


def boundary(a, model, x, y, classes):
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import PyTorchClassifier
    model.to(memory_format=torch.channels_last)
    queries = 0

    def count(module, inputs):
        nonlocal queries
        queries += len(inputs[0])
    model.register_forward_pre_hook(count)
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 32, 32), classes, clip_values=(0, 1), device_type="cpu")
    right = torch.tensor(classifier.predict(x.numpy(), batch_size=a.batch).argmax(1)) == y
    numbers = [i for i in range(len(x)) if right[i]]
    images = x[right].numpy()
    attack = HopSkipJump(classifier, batch_size=a.batch, targeted=False, norm=2, max_iter=a.iterations, init_eval=100,
                         max_eval=10000, init_size=100, verbose=False)
    queries, start = 0, time.perf_counter()
    made, seconds = [], []
    for image in images:  # one after the other, as the attack does by itself, so that each has a time
        begin = time.perf_counter()
        made.append(attack.generate(image[None])[0])
        seconds.append(time.perf_counter() - begin)
    whole = time.perf_counter() - start
    distances = [float(np.linalg.norm((m - i).ravel())) for m, i in zip(made, images)]
    return {"samples": len(images), "iterations": a.iterations, "seconds": whole, "samples_per_s": len(images) / whole,
            "queries_per_sample": queries / len(images), "mean_distance": float(np.mean(distances)),
            "standard_error": float(np.std(distances, ddof=1) / np.sqrt(len(distances))) if len(images) > 1 else None,
            "numbers": numbers, "distances": distances}


def records(a, model, x, y):
    from torch.func import functional_call, grad, vmap
    model.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    loss = nn.functional.cross_entropy

    def one_loss(parameters, layer, feature, label):
        return loss(functional_call(layer, parameters, (feature[None],)), label[None])

    seconds = []
    for _ in range(a.rounds):
        squares, losses, leaving = 0.0, 0.0, [0] * (len(model.thresholds) + 1)
        start = time.perf_counter()
        for i in range(0, len(x), a.batch):
            labels = y[i:i + a.batch]

            def visit(rows, e, layer, f, z, p):
                nonlocal squares, losses
                parameters = {k: v.detach() for k, v in layer.named_parameters()}
                per_sample = vmap(grad(one_loss), in_dims=(None, None, 0, 0))(parameters, layer, f.flatten(1), labels[rows])
                squares += float((per_sample["weight"].double() ** 2).sum())
                losses += float(loss(z, labels[rows], reduction="sum"))
                leaving[e] += len(rows)
                z.argmax(1)
            with torch.no_grad():
                model.walk(x[i:i + a.batch], visit)
        seconds.append(time.perf_counter() - start)
    return {"batch": a.batch, "records": len(x), "leaving": leaving, "seconds": seconds,
            "records_per_s": len(x) / min(seconds), "mean_loss": losses / len(x), "gradient_squares": squares}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--what", required=True, choices=["pgd", "boundary", "records"])
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--images", required=True, type=pathlib.Path)
    p.add_argument("--count", type=int, help="the first N images")
    p.add_argument("--batch", type=int, help="default: 128; of boundary ART's 64")
    p.add_argument("--mode", default="eager", choices=["eager", "compiled"])
    p.add_argument("--threshold", type=float, help="of all exits, instead of the checkpoint's")
    p.add_argument("--last", action="store_true", help="boundary: the last exit alone answers")
    p.add_argument("--iterations", type=int, default=10)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    a.batch = a.batch or (64 if a.what == "boundary" else 128)
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    np.random.seed(1)
    last, name, classes = model_of(a.checkpoint)
    x, y = (t[:a.count] for t in images_of(a.images))
    exits = 1 + sum(block.output is not None for block in last.net.layers)
    early = EarlyExit(last.net, thresholds_of(a.checkpoint, exits, a.threshold), classes).eval()
    answer = {"peer": "torch " + torch.__version__, "what": a.what, "net": name, "exits": exits, "images": len(x),
              "threads": a.threads}
    if a.what == "pgd":
        answer |= pgd(a, last, x, y)
    elif a.what == "boundary":
        answer |= boundary(a, Floats(last) if a.last else early, x, y, classes)
    else:
        answer |= records(a, early, x, y)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
