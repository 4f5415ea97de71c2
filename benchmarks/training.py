"""Models and training: fused attention against the textbook's, the cost estimator against torch's counter, accuracies.

Run: python -m benchmarks.training --json OUT
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.accuracy import accuracy_figures
from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from pipeline.hw_proxy.flops_estimator import flops_bytes_per_layer
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT
from pipeline.models.vit_blocks import Attended, Attention, Block

BATCH = 8
REPEATS = 7


class NaiveAttention(nn.Module):
    """Softmax attention as textbooks write it, with the weights of an `Attention`."""

    def __init__(self, fused: Attention) -> None:
        super().__init__()
        self.num_heads = fused.num_heads
        self.qkv = fused.qkv
        self.projection = fused.projection

    def forward(self, x: Tensor, key_bias: Tensor | None = None, gates: None = None) -> Tensor:
        """softmax(q k' / sqrt(d) + key_bias) v; dense models have no gates."""
        return self.attend(x, key_bias, gates)[0]

    def attend(self, x: Tensor, key_bias: Tensor | None, gates: None) -> tuple[Tensor, Attended]:
        """`forward`, and the queries and keys that it compared."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
        if key_bias is not None:
            scores = scores + key_bias
        mixed = scores.softmax(dim=-1) @ value
        return self.projection(mixed.transpose(1, 2).reshape(batch, tokens, width)), Attended(query, key)


def with_naive_attention(model: nn.Module) -> nn.Module:
    """A copy of `model` with the same weights whose blocks use `NaiveAttention`."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, Block):
            module.attention = NaiveAttention(module.attention)  # type: ignore[assignment]
    return copied


def attention_figures() -> list[Figure]:
    """How many times faster the model is than the same weights with naive attention: T=8, 112 px, d=192, L=12, B=8."""
    torch.manual_seed(0)
    fused = VideoViT(112, 8, 101, embed_dim=192, depth=12, num_heads=3, mlp_ratio=4.0, patch_size=16)
    models = {"fused": fused, "naive": with_naive_attention(fused)}
    clips = torch.randn(BATCH, 8, 3, 112, 112)

    def forward(model: nn.Module) -> Callable[[], object]:
        def run() -> None:
            with torch.inference_mode():
                model(clips)

        return run

    def forward_backward(model: nn.Module) -> Callable[[], object]:
        def run() -> None:
            model.zero_grad(set_to_none=True)
            model(clips).logsumexp(dim=1).sum().backward()

        return run

    figures = []
    for name, function, bar in (("forward", forward, 1.2), ("forward+backward", forward_backward, 1.05)):
        seconds = interleaved_median_s({key: function(model) for key, model in models.items()}, REPEATS)
        ratio = seconds["naive"] / seconds["fused"]
        figures.append(Figure(f"VideoViT {name}, fused over naive attention", ratio, "x", bar, "higher"))
    return figures


def counted_flops(model: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one forward pass by torch's counter; it misses the fused CPU kernel, hence the plain one."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


def estimator_figures() -> list[Figure]:
    """Largest relative deviation of the estimator from torch's counter, over models of several sizes."""
    deviations = []
    for embed_dim, depth, heads, mlp_ratio, img_size, patch_size, frames in (
        (192, 12, 3, 4.0, 112, 16, 8),
        (64, 4, 2, 2.0, 64, 16, 8),
        (96, 3, 4, 3.5, 48, 8, 5),
        (32, 1, 1, 1.0, 32, 32, 1),
    ):
        sizes = (img_size, frames, 101, embed_dim, depth, heads, mlp_ratio, patch_size)
        clips, sound = torch.randn(2, frames, 3, img_size, img_size), torch.randn(2, frames, 64)
        cases: list[tuple[VideoViT | VideoAudioAST, tuple[Tensor, ...]]] = [(VideoViT(*sizes), (clips,))]
        cases += [(VideoAudioAST(*sizes, 64, fusion=fusion), (clips, sound)) for fusion in ("early", "late", "audio")]
        for model, inputs in cases:
            estimated = sum(layer.flops for layer in flops_bytes_per_layer(model, batch_size=2))
            counted = counted_flops(model.eval(), *inputs)
            deviations.append(abs(float(estimated) / counted - 1))
    return [Figure("FLOPs estimator, largest deviation from FlopCounterMode", max(deviations), "share", 0.01, "lower")]


def main() -> None:
    """Take all figures on one thread and report them."""
    arguments = parse_json_flag(__doc__ or "")
    torch.set_num_threads(1)
    report([*attention_figures(), *estimator_figures(), *accuracy_figures()], arguments.json)


if __name__ == "__main__":
    main()
