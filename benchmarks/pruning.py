"""Pruning on the clock and to the digit: time saved over what the MACs promise, scoring, and every equivalence.

Sizes are those of the bars: T=8, 112 px, patch 16, width 192, 12 blocks, half of the tokens dropped after block 3.

Accuracy and speed against rivals come with them (`benchmarks.pruning_accuracy`, which has a command of its own).

Run: python -m benchmarks.pruning --json OUT
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import pruning_accuracy
from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from benchmarks.training import counted_flops
from pipeline.hw_proxy.flops_estimator import flops_bytes_per_layer, total_macs
from pipeline.models.compact import compact
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT

SIDE, FRAMES, CLASSES, WIDTH, DEPTH, HEADS, BANDS = 112, 8, 101, 192, 12, 3, 64
SIZES = (SIDE, FRAMES, CLASSES, WIDTH, DEPTH, HEADS, 4.0, 16)
AST: dict[str, Any] = {"prune_layers": [3], "rho_target": 0.5}
SHARES = (0.0, 0.002, 0.5, 1.0)
REPEATS = 9


def video_net(ast_cfg: dict[str, Any] | None = None) -> VideoViT:
    """The network of the bars, with the same weights whatever the pruner."""
    torch.manual_seed(0)
    return VideoViT(*SIZES, use_ast_prune=ast_cfg is not None, ast_cfg=ast_cfg).eval()


def clips(batch: int) -> Tensor:
    """Noise that is different in every frame and patch."""
    return torch.randn(batch, FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def with_random_gates(model: nn.Module) -> nn.Module:
    """`model` with about a third of its gates closed."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if name.endswith(("head_logit", "ch_logit", "block_logit")):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) + 0.4)
    return model


def evaluation_time() -> list[Figure]:
    """Measured speed-up of a gathered forward pass over what its MACs promise, scoring included."""
    dense, pruned = video_net(), video_net(AST)
    ideal = total_macs(dense) / total_macs(pruned)
    figures = []
    for batch, bar, repeats in ((8, 0.90, REPEATS), (1, 0.80, 3 * REPEATS)):
        x = clips(batch)
        seconds = interleaved_median_s({"dense": _forward(dense, x), "pruned": _forward(pruned, x)}, repeats)
        measured = seconds["dense"] / seconds["pruned"]
        times = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items())
        print(f"B={batch}: {times}, {measured:.2f} x where MACs promise {ideal:.2f} x")
        figures.append(
            Figure(f"evaluation speed-up over ideal ({ideal:.2f} x), B={batch}", measured / ideal, "x", bar, "higher")
        )
    return figures


def scoring_time() -> list[Figure]:
    """Time of scoring and choosing tokens, over one block and over the dense forward pass, B=8."""
    dense, pruned = video_net(), video_net(AST)
    pruner = pruned.ast_pruner
    assert pruner is not None
    tokens = torch.randn(8, FRAMES, 49, WIDTH)
    sequence = torch.randn(8, FRAMES * 49 + 1, WIDTH)
    x = clips(8)
    # Scoring follows a block, as it does in a network: caches and free memory are those that a block leaves.
    functions = {
        "forward": _forward(dense, x),
        "block": _without_gradient(lambda: dense.transformer.blocks[0](sequence)),
        "score": _without_gradient(lambda: pruner.gate_tokens(tokens, {"video": (0, 49)})),
    }
    seconds = interleaved_median_s(functions, 2 * REPEATS)
    print(f"scoring {1e3 * seconds['score']:.2f} ms, block {1e3 * seconds['block']:.1f} ms (B=8)")
    return [
        Figure("scoring over one block, B=8", 100 * seconds["score"] / seconds["block"], "%", 10.0, "lower"),
        Figure("scoring over the dense forward, B=8", 100 * seconds["score"] / seconds["forward"], "%", 1.0, "lower"),
    ]


def training_time() -> list[Figure]:
    """Time of a masked training step (forward, backward, update) over that of a dense one, B=8."""
    figures = []
    for name, settings in (("tokens", {"gates": False}), ("tokens and gates", {})):
        models = {"dense": video_net(), "masked": video_net({**AST, **settings})}
        steps = {key: _training_step(model) for key, model in models.items()}
        seconds = interleaved_median_s(steps, 5)
        ratio = seconds["masked"] / seconds["dense"]
        figures.append(Figure(f"masked training step over dense, {name}", ratio, "x", 1.05, "lower"))
    return figures


def equivalences() -> list[Figure]:
    """Largest difference of logits between forms that must be equal."""
    cfg = {"prune_layers": [3, 6], "rho_target": [0.6, 0.3]}
    x, sound = clips(4), torch.randn(4, FRAMES, BANDS, generator=torch.Generator().manual_seed(3))
    has_audio = torch.tensor([True, False, True, True])
    figures = []
    torch.manual_seed(0)
    joint = VideoAudioAST(
        *SIZES, BANDS, use_ast_prune=True, ast_cfg={**cfg, "audio": "gate"}, fusion="early", audio_drop=0.0
    )
    video = with_random_gates(video_net(cfg))
    for name, model, inputs, known in (
        ("V", video, (x,), {}),
        ("AV", with_random_gates(joint), (x, sound), {"has_audio": has_audio}),
    ):
        with torch.no_grad():
            masked = model.train()(*inputs, **known)
            gathered = model.eval()(*inputs, **known)
            first = {key: value[:1] for key, value in known.items()}
            alone = model(*(part[:1] for part in inputs), **first)
            compacted = compact(model)(*inputs, **known)
        for text, one, other in (
            ("masked training against gathered evaluation", masked, gathered),
            ("a sample alone against in a batch", alone, gathered[:1]),
            ("compacted against gated", compacted, gathered),
        ):
            difference = (one - other).abs().max().item()
            figures.append(Figure(f"{name}: logits, {text}", difference, "", 1e-5, "lower"))
    return figures


def exact_counts() -> list[Figure]:
    """Largest deviation of the number of kept tokens from k, for shares down to none (k >= 1)."""
    deviations = []
    for share in SHARES:
        model = video_net({**AST, "rho_target": share, "gates": False})
        with torch.no_grad():
            _, info = model(clips(2), return_intermediate=True)
        expected = max(1, round(share * FRAMES * 49))
        deviations += (info["token_mask"].flatten(1).sum(dim=1) - expected).abs().tolist()
    return [Figure("kept tokens, largest deviation from k", max(deviations), "tokens", 0.0, "lower")]


def estimated_costs() -> list[Figure]:
    """Deviation of the cost estimator from torch's counter on gathered and compacted models."""
    gated = with_random_gates(video_net(AST))
    figures = []
    for name, model in (("gathered", gated), ("compacted", compact(gated))):
        estimated = float(sum(layer.flops for layer in flops_bytes_per_layer(model, batch_size=2)))
        deviation = abs(estimated / counted_flops(model, clips(2)) - 1)
        figures.append(Figure(f"FLOPs estimator against FlopCounterMode, {name}", deviation, "share", 0.01, "lower"))
    return figures


def _forward(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def run() -> None:
        with torch.inference_mode():
            model(x)

    return run


def _without_gradient(function: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with torch.inference_mode():
            function()

    return run


def _training_step(model: VideoViT) -> Callable[[], object]:
    model.train().set_training_progress(0.5)
    optimizer = torch.optim.AdamW(model.parameters())
    x, labels = clips(8), torch.arange(8)

    def run() -> None:
        logits, info = model(x, return_intermediate=True)
        loss = nn.functional.cross_entropy(logits, labels) + info.get("L_AST", 0.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return run


def main() -> None:
    """Take all figures on one thread and report them."""
    arguments = parse_json_flag(__doc__ or "")
    torch.set_num_threads(1)
    figures = [*evaluation_time(), *scoring_time(), *training_time()]
    figures += [*equivalences(), *exact_counts(), *estimated_costs(), *pruning_accuracy.figures()]
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
