"""The light decoder's BatchNorm in exported graphs is the network's own."""

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")
from torch import nn  # noqa: E402

from depth_training.network.decoder import Decoder  # noqa: E402
from depth_training.network.split_norms import with_split_norms  # noqa: E402


@pytest.fixture
def decoder():
    """A light decoder whose BatchNorms do something."""
    decoder = Decoder([8, 16, 24], widths=[12, 8], bottleneck_width=16, global_context=True, light=True).eval()
    for norm in decoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.weight, -2, 2),
                (norm.bias, -1, 1),
                (norm.running_mean, -3, 3),
                (norm.running_var, 0.1, 4),
            ):
                nn.init.uniform_(tensor, low, high)
    return decoder


@pytest.mark.parametrize(
    "sizes", [((32, 48), (16, 24), (8, 12)), ((15, 21), (8, 11), (4, 6)), ((1, 3), (1, 2), (1, 1))]
)
def test_the_copy_answers_as_the_decoder_does_at_any_size(decoder, sizes):
    features = [torch.randn(2, channels, *size) for channels, size in zip((8, 16, 24), sizes, strict=True)]
    split = with_split_norms(decoder)
    with torch.no_grad():
        torch.testing.assert_close(split(features), decoder(features), rtol=1e-4, atol=1e-4)


def test_no_sum_is_normalised_in_the_copy_and_the_decoder_stays(decoder):
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    split = with_split_norms(decoder)
    assert all(isinstance(block.norm1, nn.Identity) for block in split.blocks)
    assert decoder.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())


def test_weights_that_half_precision_stores_are_those_of_the_decoder(decoder):
    kept = {tensor.numpy().tobytes() for tensor in with_split_norms(decoder).state_dict().values()}
    assert {tensor.numpy().tobytes() for tensor in decoder.state_dict().values()} <= kept
