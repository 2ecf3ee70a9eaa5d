"""The heads' convolutions in exported graphs are the network's own."""

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")
from torch import nn  # noqa: E402

from depth_training.network.one_channel import ShiftedSum, with_shifted_sums  # noqa: E402


@pytest.mark.parametrize("channels", [1, 5, 32, 33, 48])
@pytest.mark.parametrize("size", [(7, 11), (1, 1), (2, 9)])
def test_a_shifted_sum_is_the_convolution_it_was_made_of(channels, size):
    conv = nn.Conv2d(channels, 1, kernel_size=3, padding=1)
    x = torch.randn(2, channels, *size)
    torch.testing.assert_close(ShiftedSum(conv)(x), conv(x), rtol=1e-4, atol=1e-5)


def test_only_large_one_channel_convolutions_are_replaced_and_only_in_the_copy():
    network = nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=3, padding=1),
        nn.Conv2d(32, 1, kernel_size=3, padding=1),
        nn.Conv2d(1, 1, kernel_size=3, padding=1),
        nn.Conv2d(1, 1, kernel_size=3),
    ).eval()
    copied = with_shifted_sums(network, least_weights=256)
    assert [type(layer) for layer in copied] == [nn.Conv2d, ShiftedSum, nn.Conv2d, nn.Conv2d]
    assert all(isinstance(layer, nn.Conv2d) for layer in network)
    x = torch.randn(1, 3, 12, 16)
    torch.testing.assert_close(copied(x), network(x), rtol=1e-4, atol=1e-5)
