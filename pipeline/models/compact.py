"""Cut closed gates out of the weights: a plain smaller model with the same outputs (spec §6.7).

A closed head takes its rows of the fused q, k, v projection and its columns of the output projection; a closed channel
its row of the MLP's first map and its column of the second; a closed branch goes as a whole, with its norm. A branch
with nothing open inside counts as closed, in the gated model too.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Bool
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.artifacts import write_bytes
from pipeline.errors import DataError

from .ast2_pruner import ASTPruner
from .gates import BlockGates
from .token_transformer import TokenTransformer
from .video_audio_ast import VideoAudioAST
from .video_vit import VideoViT
from .vit_blocks import MLP, Attention, Block

SIZES = "block_sizes"
Model = TypeVar("Model", bound=VideoViT | VideoAudioAST)


def compact(model: Model) -> Model:
    """A copy of `model`, in evaluation mode, without its closed heads, channels and branches, and without gates.

    Raises:
        ValueError: the model has no gates.
    """
    smaller = copy.deepcopy(model)
    smaller.eval()
    pruner, transformer = gated_part(smaller)
    gates = pruner.gates()
    if gates is None:
        raise ValueError("compact() needs a model with gates (use_ast_prune=True, ast_cfg gates=True)")
    with torch.no_grad():
        for index, (block, open_parts) in enumerate(zip(transformer.typed_blocks(), gates.of_blocks(), strict=True)):
            transformer.blocks[index] = _cut_block(block, open_parts)
    _remove_gates(pruner)
    return smaller


def gated_part(model: VideoViT | VideoAudioAST) -> tuple[ASTPruner, TokenTransformer]:
    """The pruner of a model and the transformer that it acts on.

    Raises:
        ValueError: the model has no pruner.
    """
    video = _picture_net(model)
    pruner = model.ast_pruner or video.ast_pruner
    if pruner is None:
        raise ValueError("the model has no pruner; build it with use_ast_prune=True")
    return pruner, video.transformer


def has_pruner(model: VideoViT | VideoAudioAST) -> bool:
    """Whether a model drops tokens or closes gates."""
    if isinstance(model, VideoAudioAST) and model.fusion == "audio":
        return False
    return model.ast_pruner is not None or _picture_net(model).ast_pruner is not None


def _picture_net(model: VideoViT | VideoAudioAST) -> VideoViT:
    return model.video if isinstance(model, VideoAudioAST) else model


def save_compacted(path: Path, model: VideoViT | VideoAudioAST) -> None:
    """Write a compacted model as safetensors; heads and hidden units of each block are in its metadata."""
    _, transformer = gated_part(model)
    blocks = transformer.typed_blocks()
    sizes = {"heads": [block.num_heads for block in blocks], "mlp_hidden": [block.hidden_dim for block in blocks]}
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    # One entry: safetensors writes several in an order of its own, and equal models would differ in their bytes.
    write_bytes(path, save(tensors, metadata={SIZES: json.dumps(sizes)}))


def load_compacted(path: Path, model: Model) -> Model:
    """A compacted model from its file.

    Args:
        path: written by `save_compacted`.
        model: the gated model of the same configuration; its weights do not matter and stay as they are.

    Raises:
        DataError: the file is missing, damaged, or of another configuration.
    """
    smaller = copy.deepcopy(model)
    smaller.eval()
    pruner, transformer = gated_part(smaller)
    try:
        with safe_open(path, framework="pt") as file:
            sizes = json.loads((file.metadata() or {})[SIZES])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        for index, (heads, hidden) in enumerate(zip(sizes["heads"], sizes["mlp_hidden"], strict=True)):
            transformer.blocks[index] = _block_of_size(transformer, heads, hidden)
        _remove_gates(pruner)
        smaller.load_state_dict(tensors)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; train the pruned experiment first") from error
    except (KeyError, IndexError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{path}: is not a compacted model of this configuration: {error}") from error
    smaller.eval()
    return smaller


def _block_of_size(transformer: TokenTransformer, num_heads: int, hidden_dim: int) -> Block:
    width = transformer.cls_token.numel()
    return Block(width, num_heads, 1.0, head_dim=transformer.head_dim, hidden_dim=hidden_dim)


def _remove_gates(pruner: ASTPruner) -> None:
    pruner.head_logit = pruner.ch_logit = pruner.block_logit = None


def _cut_block(block: Block, gates: BlockGates) -> Block:
    cut = copy.deepcopy(block)
    if cut.attention is not None and gates.attention > 0:
        cut.attention = _cut_attention(cut.attention, gates.head > 0)
    elif cut.attention is not None:
        cut.attention = None
        del cut.attention_norm
    if cut.mlp is not None and gates.mlp > 0:
        cut.mlp = _cut_mlp(cut.mlp, gates.channel > 0)
    elif cut.mlp is not None:
        cut.mlp = None
        del cut.mlp_norm
    return cut


def _cut_attention(attention: Attention, open_heads: Bool[Tensor, " H"]) -> Attention:
    inner = open_heads.repeat_interleave(attention.head_dim)
    width = attention.projection.out_features
    smaller = Attention(width, int(open_heads.sum()), attention.attn_drop, head_dim=attention.head_dim)
    smaller.dropout = attention.dropout
    _copy_linear(attention.qkv, smaller.qkv, rows=inner.repeat(3))
    _copy_linear(attention.projection, smaller.projection, columns=inner)
    return smaller.train(attention.training)


def _cut_mlp(mlp: MLP, open_channels: Bool[Tensor, " M"]) -> MLP:
    smaller = MLP(mlp.contract.out_features, 1.0, hidden_dim=int(open_channels.sum()))
    smaller.dropout = mlp.dropout
    _copy_linear(mlp.expand, smaller.expand, rows=open_channels)
    _copy_linear(mlp.contract, smaller.contract, columns=open_channels)
    return smaller.train(mlp.training)


def _copy_linear(
    source: nn.Linear, target: nn.Linear, rows: Tensor | slice = slice(None), columns: Tensor | slice = slice(None)
) -> None:
    target.weight.copy_(source.weight[rows][:, columns])
    target.bias.copy_(source.bias[rows])
