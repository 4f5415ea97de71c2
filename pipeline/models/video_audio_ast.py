"""`VideoAudioAST`: `VideoViT` with sound, fused early or late (spec §5.2)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pipeline.config.pruning import PruningConfig

from .audio_transformer import AudioTransformer
from .token_transformer import NetShape, TransformerConfig
from .video_vit import AstSettings, Info, VideoViT, model_info
from .vit_blocks import AudioEmbedding


class VideoAudioAST(nn.Module):
    """Audio-video classifier (spec §5.2); sizes as in `VideoViT`.

    Features are standardised per mel band (`set_audio_statistics`) and zeroed where there is no track.

    * `early`: one audio token per frame joins its patches in `video`'s transformer. A sample without a track
      hides its audio keys, so its logits are those of `video` alone; in training a track is hidden with
      probability `audio_drop`.
    * `late`: `video` and `audio` share nothing; logits = log softmax(video) + audio_weight · has_audio ·
      log softmax(audio). `audio_weight` is a buffer, to be chosen on validation data.
    * `audio`: the net `audio` alone; without a track it answers from zeros.

    With `use_ast_prune`, early fusion has one pruner over all tokens: sound tokens compete with patches
    (`ast_cfg["audio"] = "gate"`; those of an absent track never win) or all stay (`keep`). In late fusion `video` has
    the pruner and `audio`, a few tokens, stays dense.

    Args:
        audio_feat_dim: features F per frame (mel bands).
        fusion: `early`, `late` or `audio`.
        audio_drop: see `early`; no other fusion reads it.
        use_ast_prune: drop tokens, and gate heads, channels and branches.
        ast_cfg: settings of the pruner by their names in `PruningConfig`, read only with `use_ast_prune`.

    Raises:
        ValueError: sizes that do not fit, an unknown option, or sound tokens that are to compete in late fusion.
    """

    audio_mean: Tensor
    audio_std: Tensor
    audio_weight: Tensor

    def __init__(
        self,
        img_size: int,
        num_frames: int,
        num_classes: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        patch_size: int,
        audio_feat_dim: int,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        attn_drop: float = 0.0,
        drop_path_rate: float = 0.0,
        use_ast_prune: bool = False,
        ast_cfg: AstSettings = None,
        *,
        fusion: Literal["early", "late", "audio"] = "early",
        audio_drop: float = 0.2,
        pool: Literal["cls", "mean"] = "cls",
    ) -> None:
        super().__init__()
        if fusion not in ("early", "late", "audio"):
            raise ValueError(f"fusion={fusion!r}: choose 'early', 'late' or 'audio'")
        if use_ast_prune:
            _check_prunable(fusion, ast_cfg)
        config = TransformerConfig(embed_dim, depth, num_heads, mlp_ratio, drop_rate, attn_drop, drop_path_rate, pool)
        self.fusion = fusion
        self.audio_drop = audio_drop
        self.audio_shape = (num_frames, audio_feat_dim)
        if fusion != "audio":
            self.video = VideoViT(
                img_size,
                num_frames,
                num_classes,
                embed_dim,
                depth,
                num_heads,
                mlp_ratio,
                patch_size,
                in_chans,
                drop_rate,
                attn_drop,
                drop_path_rate,
                use_ast_prune and fusion == "late",
                ast_cfg,
                pool=pool,
            )
        # After `video`, so that a seed gives `video` the same weights with and without sound.
        if fusion == "early":
            self.audio_embedding = AudioEmbedding(audio_feat_dim, embed_dim)
        else:
            self.audio = AudioTransformer(num_frames, num_classes, audio_feat_dim, config)
        joint = use_ast_prune and fusion == "early"
        self.ast_pruner = self.video.make_pruner(ast_cfg, audio_tokens=1) if joint else None
        self.register_buffer("audio_mean", torch.zeros(audio_feat_dim))
        self.register_buffer("audio_std", torch.ones(audio_feat_dim))
        self.register_buffer("audio_weight", torch.tensor(1.0))

    def set_audio_statistics(self, mean: Float[Tensor, " F"], std: Float[Tensor, " F"]) -> None:
        """Set what features are standardised with: mean and standard deviation per band, over the training set.

        A constant band (std below 1e-6) tells nothing and keeps its scale.

        Raises:
            ValueError: wrong length, or values that are not finite.
        """
        for name, values in (("mean", mean), ("std", std)):
            if tuple(values.shape) != tuple(self.audio_mean.shape):
                raise ValueError(
                    f"audio {name} has shape {list(values.shape)}, expected [{self.audio_mean.numel()}] (audio.n_mels)"
                )
            if not torch.isfinite(values).all():
                raise ValueError(f"audio {name} holds values that are not finite; compute the statistics again")
        self.audio_mean.copy_(mean)
        self.audio_std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))

    def set_training_progress(self, progress: float) -> None:
        """Say which share of training is done; the pruner's schedules follow it."""
        if self.ast_pruner is not None:
            self.ast_pruner.progress = progress
        if self.fusion == "late":
            self.video.set_training_progress(progress)

    def set_audio_weight(self, weight: float) -> None:
        """Set the weight of the sound's log-probabilities in late fusion."""
        self.audio_weight.fill_(weight)

    def forward(
        self,
        x_video: Float[Tensor, "B _ _ _ _"],
        x_audio: Float[Tensor, "B _ _"],
        return_intermediate: bool = False,
        *,
        has_audio: Bool[Tensor, " B"] | None = None,
    ) -> Tensor | tuple[Tensor, Info]:
        """Classify clips with sound.

        Args:
            x_video: frames; not read with fusion `audio`.
            x_audio: features in the units of the statistics.
            return_intermediate: also return the dictionary.
            has_audio: which samples have a track; None means all.

        Returns:
            logits [B, K] (late: unnormalised log-probabilities), or (logits, info). info holds `token_feat`
            and `cls_feat` as for `VideoViT` (late: of the video; early: N_v + 1 tokens per frame; audio: 1),
            `branch_logits`, and with early fusion `modality_slices`. `branch_logits` is a list of (logits
            [B, K], weight [B]), one per separately trained net; the weight is 0 for samples it does not learn
            from: the sound's net learns from clips with a track only, which may be none of a batch.

        Raises:
            ValueError: an input has other sizes than the model was built for.
        """
        if tuple(x_audio.shape[1:]) != self.audio_shape:
            frames, bands = self.audio_shape
            raise ValueError(
                f"VideoAudioAST expects audio [B, T, F] with T={frames}, F={bands}; got {list(x_audio.shape)}. "
                "Sample data.num_frames columns of audio.n_mels bands"
            )
        if has_audio is None:
            has_audio = torch.ones(x_audio.shape[0], dtype=torch.bool, device=x_audio.device)
        standardised = (x_audio - self.audio_mean) / self.audio_std
        audio = torch.where(has_audio[:, None, None], standardised, torch.zeros_like(standardised))
        fuse = {"early": self._early, "late": self._late, "audio": self._audio_alone}[self.fusion]
        logits, info = fuse(x_video, audio, has_audio)
        return (logits, info) if return_intermediate else logits

    def _early(self, x_video: Tensor, audio: Tensor, has_audio: Tensor) -> tuple[Tensor, Info]:
        if self.training:
            has_audio = has_audio & (torch.rand(has_audio.shape, device=has_audio.device) >= self.audio_drop)
        patches = self.video.embed(x_video)
        tokens = torch.cat([patches, self.audio_embedding(audio)], dim=2)
        num_patches = patches.shape[2]
        key_bias = torch.zeros(tokens.shape[:3], dtype=tokens.dtype, device=tokens.device)
        key_bias[:, :, num_patches:].masked_fill_(~has_audio[:, None, None], -torch.inf)
        slices = {"video": (0, num_patches), "audio": (num_patches, num_patches + 1)}
        output = self.video.transformer(tokens, key_bias, self.ast_pruner, slices)
        branch = (output.logits, torch.ones_like(has_audio, dtype=torch.float32))
        return output.logits, model_info(output, [branch], self.ast_pruner, slices) | {"modality_slices": slices}

    def _late(self, x_video: Tensor, audio: Tensor, has_audio: Tensor) -> tuple[Tensor, Info]:
        video_logits, info = self.video(x_video, return_intermediate=True)
        audio_logits = self.audio(audio).logits
        vote = self.audio_weight * has_audio.to(audio_logits.dtype)
        logits = video_logits.log_softmax(dim=1) + vote.unsqueeze(1) * audio_logits.log_softmax(dim=1)
        return logits, {**info, "branch_logits": [*info["branch_logits"], (audio_logits, has_audio.float())]}

    def _audio_alone(self, x_video: Tensor, audio: Tensor, has_audio: Tensor) -> tuple[Tensor, Info]:
        output = self.audio(audio)
        return output.logits, model_info(output, [(output.logits, has_audio.float())], None, {})

    def branches(self) -> list[nn.Module]:
        """The nets that are trained apart from each other (their gradients are clipped apart)."""
        if self.fusion == "early":
            return [self]
        return [self.video, self.audio] if self.fusion == "late" else [self.audio]

    def net_shapes(self) -> list[NetShape]:
        """The sizes of each net that runs on a clip, for cost estimates."""
        if self.fusion == "early":
            embeddings = (self.video.patch_embedding.shape(), self.audio_embedding.shape())
            gated = 0 if self.ast_pruner is None else self.ast_pruner.num_patches
            return [self.video.transformer.shape(*embeddings, pruner=self.ast_pruner, gated=gated)]
        return [*(self.video.net_shapes() if self.fusion == "late" else []), *self.audio.net_shapes()]


def _check_prunable(fusion: str, ast_cfg: AstSettings) -> None:
    if fusion == "audio":
        raise ValueError("use_ast_prune=True drops picture tokens, and fusion='audio' has none")
    audio = ast_cfg.audio if isinstance(ast_cfg, PruningConfig) else (ast_cfg or {}).get("audio")
    if fusion == "late" and audio == "gate":
        raise ValueError("ast_cfg audio='gate' ranks sound beside picture tokens; late fusion has them in two nets")
