"""The net of `serve_beside make` behind MLServer: the same weights as PyTorch modules (tests/fixtures/reference_nets.py), real
early exit, one thread. For tests/bench/peers/beside_mlserver; needs torch and mlserver in an environment of its own."""
import json
import os
import sys

import torch
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path.insert(0, os.environ["OFFRAMP_FIXTURES"])
import reference_nets  # noqa: E402


def fuse(module):
    """Batch norms into the convolutions before them, as who serves for speed does."""
    for child in module.children():
        fuse(child)
    if isinstance(module, torch.nn.Sequential):
        for i in range(len(module) - 1):
            if isinstance(module[i], torch.nn.Conv2d) and isinstance(module[i + 1], torch.nn.BatchNorm2d):
                module[i] = fuse_conv_bn_eval(module[i], module[i + 1])
                module[i + 1] = torch.nn.Identity()


class EarlyExit(MLModel):
    async def load(self):
        torch.set_num_threads(1)
        folder = self.settings.parameters.uri
        tensors, metadata = reference_nets.load_safetensors(os.path.join(folder, "net.safetensors"))
        exits = sorted(int(name.split(".")[1]) for name in tensors if name.endswith("output.linear.weight"))
        classes = next(t for n, t in tensors.items() if n.endswith("output.linear.weight")).shape[0]
        mean = tensors.get("normalize.mean", torch.zeros(3))
        std = 1 / tensors.get("normalize.inv_std", torch.ones(3))
        self.mean, self.std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
        self.net = reference_nets.resnet(9, 1, classes, exits, mean.tolist(), std.tolist())
        missing, unexpected = self.net.load_state_dict(tensors, strict=False)
        assert not missing and all(n.startswith("normalize.") for n in unexpected), (missing, unexpected)
        self.net.eval()
        if os.environ.get("FUSE", "1") == "1":
            fuse(self.net)
        with open(os.path.join(folder, "thresholds.json")) as handle:
            said = json.load(handle)
        self.thresholds, self.above = said["thresholds"], said["above"]
        return True

    @torch.inference_mode()
    def answer(self, x):
        net, at = self.net, 0
        x = net.init_conv((x - self.mean) / self.std)
        for block in net.layers:
            x = block(x)
            if block.output is None:
                continue
            p = torch.softmax(block.output(x), 1)
            sure = p.max().item()
            if sure > self.thresholds[at] or (not self.above and sure == self.thresholds[at]):
                return p
            at += 1
        return torch.softmax(net.end_layers(x), 1)

    async def predict(self, payload):
        tensor = payload.inputs[0]
        data = tensor.data.root if hasattr(tensor.data, "root") else tensor.data
        p = self.answer(torch.tensor(data, dtype=torch.float32).reshape(tensor.shape))
        return InferenceResponse(
            model_name=self.name,
            outputs=[ResponseOutput(name="probabilities", shape=list(p.shape), datatype="FP32", data=p.flatten().tolist())])
