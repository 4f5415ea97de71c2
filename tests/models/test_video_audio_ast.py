from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from pipeline.models.video_audio_ast import VideoAudioAST

T, CLASSES, SIDE, BANDS, BATCH = 4, 5, 32, 6, 4
FUSIONS = ["early", "late", "audio"]


def make(fusion: str, **options: object) -> VideoAudioAST:
    torch.manual_seed(0)
    sizes = {"embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "patch_size": 16, "audio_feat_dim": BANDS}
    model = VideoAudioAST(SIDE, T, CLASSES, **sizes, fusion=fusion, **options).eval()
    model.set_audio_statistics(torch.linspace(0.1, 0.6, BANDS), torch.linspace(0.5, 2.0, BANDS))
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, T, 3, SIDE, SIDE, generator=generator), torch.rand(BATCH, T, BANDS, generator=generator)


HAS = torch.tensor([True, False, True, False])


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_early_fusion_without_a_track_equals_the_video_net_of_the_same_weights(pool: str) -> None:
    model = make("early", pool=pool)
    video, audio = inputs()
    difference = (model(video, audio, has_audio=HAS) - model.video(video)).abs().amax(dim=1)
    assert (difference[~HAS] <= 1e-5).all()
    assert (difference[HAS] > 1e-4).all()


def test_late_fusion_without_a_track_is_the_video_net() -> None:
    model = make("late")
    video, audio = inputs()
    logits = model(video, audio, has_audio=HAS)
    alone = model.video(video).log_softmax(1)
    assert torch.equal(logits[~HAS], alone[~HAS])
    assert (logits - alone)[HAS].abs().amax() > 1e-3


def test_late_fusion_sums_log_probabilities_with_its_weight() -> None:
    model = make("late")
    video, audio = inputs()
    _, info = model(video, audio, True, has_audio=HAS)
    (video_logits, video_weight), (audio_logits, audio_weight) = info["branch_logits"]
    assert video_weight.tolist() == [1.0] * BATCH
    assert audio_weight.tolist() == HAS.float().tolist()
    for weight in (1.0, 0.25, 0.0):
        model.set_audio_weight(weight)
        expected = video_logits.log_softmax(1) + weight * HAS[:, None] * audio_logits.log_softmax(1)
        torch.testing.assert_close(model(video, audio, has_audio=HAS), expected)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_in_for_a_missing_track_does_not_matter(fusion: str) -> None:
    model = make(fusion)
    video, audio = inputs()
    garbage = torch.where(HAS[:, None, None], audio, torch.full_like(audio, torch.nan))
    assert torch.equal(model(video, garbage, has_audio=HAS), model(video, audio, has_audio=HAS))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_none_means_that_all_have_sound(fusion: str) -> None:
    model = make(fusion)
    assert torch.equal(model(*inputs()), model(*inputs(), has_audio=torch.ones(BATCH, dtype=torch.bool)))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_standardisation_undoes_any_scale_and_shift_of_the_features(fusion: str) -> None:
    model = make(fusion)
    video, audio = inputs()
    logits = model(video, audio)
    scale, shift = torch.linspace(0.5, 3.0, BANDS), torch.linspace(-1.0, 2.0, BANDS)
    model.set_audio_statistics(model.audio_mean * scale + shift, model.audio_std * scale)
    torch.testing.assert_close(model(video, audio * scale + shift), logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_sample_alone_equals_the_same_sample_in_a_batch(fusion: str) -> None:
    model = make(fusion)
    video, audio = inputs()
    together = model(video, audio, has_audio=HAS)
    for index in range(BATCH):
        one = slice(index, index + 1)
        alone = model(video[one], audio[one], has_audio=HAS[one])
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_reach_every_parameter_of_every_branch(fusion: str) -> None:
    model = make(fusion).train()
    _, info = model(*inputs(), return_intermediate=True, has_audio=HAS)
    sum((logits.logsumexp(1) * weight).sum() for logits, weight in info["branch_logits"]).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    in_branches = {id(p) for branch in model.branches() for p in branch.parameters()}
    assert in_branches == {id(p) for p in model.parameters()}


def test_late_branches_learn_apart() -> None:
    """The video's gradient is the one it has without the audio net, and the other way round."""
    model = make("late").train()
    video, audio = inputs()
    _, info = model(video, audio, True, has_audio=HAS)
    sum((logits.logsumexp(1) * weight).sum() for logits, weight in info["branch_logits"]).backward()
    joint = [p.grad.clone() for p in model.video.parameters()]
    model.zero_grad()
    model.video(video).logsumexp(1).sum().backward()
    for together, p in zip(joint, model.video.parameters(), strict=True):
        torch.testing.assert_close(together, p.grad)


@pytest.mark.parametrize("fusion", ["late", "audio"])
def test_clips_without_a_track_teach_the_audio_net_nothing(fusion: str) -> None:
    model = make(fusion)
    _, info = model(*inputs(), return_intermediate=True, has_audio=torch.zeros(BATCH, dtype=torch.bool))
    assert info["branch_logits"][-1][1].tolist() == [0.0] * BATCH


def test_audio_alone_reads_no_picture_and_answers_without_a_track() -> None:
    model = make("audio")
    video, audio = inputs()
    logits = model(video, audio, has_audio=HAS)
    assert torch.equal(logits, model(torch.randn_like(video), audio, has_audio=HAS))
    assert torch.equal(logits[1], logits[3])
    assert logits.isfinite().all()


def test_training_hides_tracks_with_the_given_probability() -> None:
    video, audio = (part[:1].expand(400, *part.shape[1:]) for part in inputs())
    for rate in (0.0, 0.3, 1.0):
        model = make("early", audio_drop=rate).train()
        with torch.no_grad():
            hidden = torch.isclose(model(video, audio), model.video(video[:1]), atol=1e-5, rtol=0).all(dim=1)
        assert hidden.float().mean().item() == pytest.approx(rate, abs=0.07)


def test_intermediate_features_have_their_documented_shapes() -> None:
    for fusion, tokens in (("early", 5), ("late", 4), ("audio", 1)):
        logits, info = make(fusion)(*inputs(), return_intermediate=True)
        assert torch.equal(logits, make(fusion)(*inputs()))
        assert info["token_feat"].shape == (BATCH, T, tokens, 24)
        assert info["cls_feat"].shape == (BATCH, 24)
        assert ("modality_slices" in info) == (fusion == "early")
        if fusion == "early":
            assert info["modality_slices"] == {"video": (0, 4), "audio": (4, 5)}


def test_modality_slices_point_at_the_tokens_of_their_modality() -> None:
    """A gradient of the audio slice's input reaches the sound, and one of the video slice's does not, at the input."""
    model = make("early")
    seen: list[torch.Tensor] = []
    model.video.transformer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    video, audio = (part.requires_grad_() for part in inputs())
    _, info = model(video, audio, return_intermediate=True)
    for own, other, name in ((video, audio, "video"), (audio, video, "audio")):
        start, stop = info["modality_slices"][name]
        gradients = torch.autograd.grad(
            seen[0][:, :, start:stop].square().sum(), (own, other), retain_graph=True, allow_unused=True
        )
        assert gradients[0].any()
        assert gradients[1] is None or not gradients[1].any()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_and_statistics_survive_safetensors(fusion: str) -> None:
    model, other = make(fusion), make(fusion)
    other.set_audio_statistics(torch.zeros(BANDS), torch.ones(BANDS))
    model.set_audio_weight(0.4)
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(other(*inputs()), model(*inputs()))


def test_bad_statistics_are_refused_and_constant_bands_kept() -> None:
    model = make("audio")
    with pytest.raises(ValueError, match="n_mels"):
        model.set_audio_statistics(torch.zeros(BANDS + 1), torch.ones(BANDS + 1))
    with pytest.raises(ValueError, match="not finite"):
        model.set_audio_statistics(torch.full((BANDS,), torch.nan), torch.ones(BANDS))
    model.set_audio_statistics(torch.zeros(BANDS), torch.zeros(BANDS))
    assert model(*inputs()).isfinite().all()


def test_other_sizes_of_sound_are_refused_by_name() -> None:
    video, audio = inputs()
    with pytest.raises(ValueError, match=f"F={BANDS}"):
        make("early")(video, audio[..., 1:])
    with pytest.raises(ValueError, match=f"T={T}"):
        make("late")(video, audio[:, 1:])


def test_impossible_models_are_refused() -> None:
    # The checker of annotations that runs under tests also refuses unknown options, naming them likewise.
    with pytest.raises(Exception, match="fusion"):
        make("middle")
