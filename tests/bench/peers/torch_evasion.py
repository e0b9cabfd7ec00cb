#!/usr/bin/env python3
"""FGSM, PGD and MI-FGSM of torchattacks, foolbox and ART on the weights of a checkpoint, beside `offramp evade attack`.

  offramp evade attack RUN@last --data DATA --count N --attack fgsm --attack pgd --attack mi-fgsm --out OURS
  offramp evade attack RUN@last --data DATA --count N --eps 0 --out CLEAN
  torch_evasion.py --checkpoint RUN/checkpoints/last.safetensors --ours OURS --clean CLEAN/examples/pgd.npz

The last exit, eps, step and steps of our run. One FGSM step is compared pixel by pixel where the gradient (float64)
exceeds four times the largest difference between PyTorch's float32 and float64 gradients of the image; success is the
share of the images that are right when clean and wrong afterwards, ours read in PyTorch too, with Wilson's 95 % interval. Needs torch,
torchattacks 3.5.1, foolbox 3.3.4, adversarial-robustness-toolbox 1.20; one JSON object on stdout.
"""
import argparse
import inspect
import json
import math
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "fixtures"))
import reference_nets as nets  # noqa: E402


class LastExit(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[-1]


def model_of(checkpoint):
    tensors, meta = nets.load_safetensors(checkpoint)
    state = {k: v for k, v in tensors.items() if not k.startswith(("normalize.", "optimizer."))}
    exits = sorted({int(k.split(".")[1]) for k in state if ".output." in k})
    mean, inv = tensors["normalize.mean"], tensors["normalize.inv_std"]
    common = (int(meta["net.classes"]), exits, mean.tolist(), (1 / inv.double()).tolist())
    name = meta["net.name"]
    if name.startswith("resnet-"):
        net = nets.resnet((int(name[7:]) - 2) // 6, 1, *common)
    else:
        net = {"mobilenet": nets.mobilenet, "vgg-16": nets.vgg16}[name](1, *common)
    if "end_layers.4.weight" in state:  # an end of two layers, as the nets of `membership train` have it
        hidden, channels = state["end_layers.2.weight"].shape
        net.end_layers = torch.nn.Sequential(*list(net.end_layers)[:2], torch.nn.Linear(channels, hidden), torch.nn.Dropout(),
                                             torch.nn.Linear(hidden, common[0]))
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all(k.endswith("num_batches_tracked") for k in missing), (missing, unexpected)
    return LastExit(net).eval(), name, int(meta["net.classes"])


def images_of(path):
    file = np.load(path)
    return torch.from_numpy(file["x"]).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(file["y"]).long()


def gradient(model, x, y):
    x = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    return x.grad


def predictions(model, x, batch=100):
    with torch.no_grad():
        return torch.cat([model(x[i:i + batch]).argmax(1) for i in range(0, len(x), batch)])


def rate(wrong, right):
    n, k = int(right.sum()), int((wrong & right).sum())
    z, p = 1.959964, k / n
    centre, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"count": k, "of": n, "share": p, "low": centre - half, "high": centre + half}


def batches(make, x, y, size=50):
    return torch.cat([make(x[i:i + size], y[i:i + size]) for i in range(0, len(x), size)])


def peers(model, settings, classes):
    """{name: f(x, y)} for attack `name`, every peer."""
    import foolbox
    import torchattacks
    from art.attacks.evasion import FastGradientMethod, MomentumIterativeMethod, ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier
    eps = {k: v["eps"] for k, v in settings.items()}
    step = {k: v["step"] for k, v in settings.items()}
    steps = {k: v["steps"] for k, v in settings.items()}
    f = foolbox.PyTorchModel(model, bounds=(0, 1))
    art = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), (3, 32, 32), classes, clip_values=(0, 1), device_type="cpu")
    by_fool = lambda attack, e: lambda x, y: attack(f, x, y, epsilons=e)[1]
    by_art = lambda attack: lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))
    return {
        "fgsm": {"torchattacks": torchattacks.FGSM(model, eps=eps["fgsm"]),
                 "foolbox": by_fool(foolbox.attacks.FGSM(random_start=False), eps["fgsm"]),
                 "art": by_art(FastGradientMethod(art, eps=eps["fgsm"]))},
        "pgd": {"torchattacks": torchattacks.PGD(model, eps=eps["pgd"], alpha=step["pgd"], steps=steps["pgd"]),
                "foolbox": by_fool(foolbox.attacks.LinfPGD(abs_stepsize=step["pgd"], steps=steps["pgd"]), eps["pgd"]),
                "art": by_art(ProjectedGradientDescentPyTorch(art, eps=eps["pgd"], eps_step=step["pgd"], max_iter=steps["pgd"],
                                                              num_random_init=1, batch_size=50, verbose=False))},
        "mi-fgsm": {"torchattacks": torchattacks.MIFGSM(model, eps=eps["mi-fgsm"], alpha=step["mi-fgsm"], steps=steps["mi-fgsm"],
                                                        decay=1.0),
                    "foolbox": by_fool(foolbox.attacks.MIFGSM(abs_stepsize=step["mi-fgsm"], steps=steps["mi-fgsm"]), eps["mi-fgsm"]),
                    "art": by_art(MomentumIterativeMethod(art, eps=eps["mi-fgsm"], eps_step=step["mi-fgsm"],
                                                          max_iter=steps["mi-fgsm"], decay=1.0, batch_size=50, verbose=False))},
    }


def defaults():
    import foolbox
    import torchattacks
    from art.attacks.evasion import FastGradientMethod, MomentumIterativeMethod, ProjectedGradientDescentPyTorch
    wanted = ("eps", "alpha", "steps", "random_start", "decay", "rel_stepsize", "abs_stepsize", "eps_step", "max_iter",
              "num_random_init", "momentum")
    known = {}
    for label, kind in (("torchattacks FGSM", torchattacks.FGSM), ("torchattacks PGD", torchattacks.PGD),
                        ("torchattacks MIFGSM", torchattacks.MIFGSM), ("foolbox FGSM", foolbox.attacks.FGSM),
                        ("foolbox LinfPGD", foolbox.attacks.LinfPGD), ("foolbox MIFGSM", foolbox.attacks.MIFGSM),
                        ("art FastGradientMethod", FastGradientMethod),
                        ("art ProjectedGradientDescentPyTorch", ProjectedGradientDescentPyTorch),
                        ("art MomentumIterativeMethod", MomentumIterativeMethod)):
        parameters = inspect.signature(kind.__init__).parameters
        known[label] = {k: p.default for k, p in parameters.items() if k in wanted and p.default is not p.empty}
    return known


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--ours", type=pathlib.Path, required=True, help="run folder of evade attack")
    p.add_argument("--clean", required=True, help="examples of a run with --eps 0: the images")
    p.add_argument("--count", type=int, help="of these images the first N alone")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    np.random.seed(1)
    model, name, classes = model_of(a.checkpoint)
    x, y = (t[:a.count] for t in images_of(a.clean))
    results = json.loads((a.ours / "results.json").read_text())
    settings = {r["attack"]: r for r in results["attacks"]}
    right = predictions(model, x) == y
    answer = {"net": name, "images": len(x), "right_when_clean": int(right.sum()), "defaults": defaults(), "attacks": {}}

    double = model_of(a.checkpoint)[0].double()
    exact = batches(lambda u, v: gradient(double, u.double(), v), x, y)
    rough = batches(lambda u, v: gradient(model, u, v), x, y)
    rounding = (exact - rough).abs().amax(dim=(1, 2, 3), keepdim=True)
    sure = exact.abs() > 4 * rounding
    for attack, by_peer in peers(model, settings, classes).items():
        ours, labels = (t[:a.count] for t in images_of(a.ours / "examples" / f"{attack}.npz"))
        assert torch.equal(labels, y)
        row = {"eps": settings[attack]["eps"], "step": settings[attack]["step"], "steps": settings[attack]["steps"],
               "ours": rate(predictions(model, ours) != y, right)}
        for peer, make in by_peer.items():
            theirs = batches(make, x, y).detach().float()
            row[peer] = rate(predictions(model, theirs) != y, right)
            if attack == "fgsm":
                difference = (theirs - ours).abs()
                row[peer]["pixels_compared"] = int(sure.sum())
                row[peer]["share_compared"] = float(sure.double().mean())
                row[peer]["largest_difference"] = float(difference[sure].max())
                row[peer]["others_differ_by_more_than_1e-6"] = int((difference[~sure] > 1e-6).sum())
        answer["attacks"][attack] = row
        print(attack, json.dumps(row), file=sys.stderr, flush=True)
    print(json.dumps(answer, indent=1, default=str))


if __name__ == "__main__":
    main()
