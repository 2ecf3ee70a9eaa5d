"""The depthwise convolution's own gradients against those of nn.Conv2d, in double precision."""

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from depth_training.network.depthwise import DepthwiseConv2d  # noqa: E402


@st.composite
def convolutions(draw) -> dict:
    """Kernel, stride and padding with an image that the kernel fits into."""
    kernel = draw(st.integers(1, 7))
    padding = draw(st.integers(0, kernel))
    least = max(1, kernel - 2 * padding)
    sides = st.integers(least, least + 12)
    return {
        "channels": draw(st.integers(1, 4)),
        "kernel": kernel,
        "stride": draw(st.integers(1, 3)),
        "padding": padding,
        "shape": (draw(st.integers(1, 3)), draw(sides), draw(sides)),
        "seed": draw(st.integers(0, 2**16)),
    }


def both(case: dict) -> tuple[DepthwiseConv2d, nn.Conv2d, torch.Tensor]:
    torch.manual_seed(case["seed"])
    channels, kernel, stride, padding = (case[key] for key in ("channels", "kernel", "stride", "padding"))
    ours = DepthwiseConv2d(channels, kernel, stride, padding).double().train()
    plain = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    batch, height, width = case["shape"]
    return ours, plain, torch.randn(batch, channels, height, width, dtype=torch.float64)


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.booleans())
def test_output_and_both_gradients_are_those_of_a_plain_convolution(case, channels_last):
    ours, plain, image = both(case)
    if channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    results = []
    for conv in (ours, plain):
        x = image.clone().requires_grad_()
        output = conv(x)
        output.backward(torch.sin(torch.arange(output.numel(), dtype=torch.float64)).reshape(output.shape))
        results.append((output.detach(), x.grad, conv.weight.grad))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(5, 1, 2), (5, 2, 2), (5, 2, 1), (5, 2, 0), (4, 3, 1)])
def test_gradients_are_the_slopes_of_the_output(kernel, stride, padding):
    """Oracle: finite differences."""
    ours = DepthwiseConv2d(2, kernel, stride, padding).double().train()
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))
    weight = ours.weight
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(ours, {"weight": w}, (x,)), (weight,))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_single_precision_in_channels_last_has_the_gradients_of_double_precision(kernel, stride):
    """Single precision has kernels of its own, and the layout is the one that training uses."""
    case = {"channels": 8, "kernel": kernel, "stride": stride, "padding": kernel // 2, "shape": (2, 31, 24), "seed": 2}
    ours, plain, image = both(case)
    ours.float().to(memory_format=torch.channels_last)
    x = image.float().contiguous(memory_format=torch.channels_last).requires_grad_()
    ours(x).square().sum().backward()
    image.requires_grad_()
    plain(image).square().sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(x.grad.double(), image.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-2)


def test_a_frozen_weight_or_input_gets_no_gradient():
    case = {"channels": 3, "kernel": 5, "stride": 2, "padding": 2, "shape": (2, 11, 8), "seed": 0}
    ours, plain, image = both(case)
    ours(image).sum().backward()  # an image needs no gradient
    plain(image).sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    ours.requires_grad_(False)
    ours.weight.grad = None
    x = image.clone().requires_grad_()
    ours(x).sum().backward()
    assert ours.weight.grad is None
    assert x.grad.any()


def test_bfloat16_gradients_lie_within_its_rounding():
    case = {"channels": 4, "kernel": 5, "stride": 1, "padding": 2, "shape": (4, 24, 24), "seed": 1}
    ours, plain, image = both(case)
    ours.float()
    with torch.autocast("cpu", torch.bfloat16):
        output = ours(image.float())
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    plain(image).square().sum().backward()
    assert ours.weight.grad.dtype == torch.float32
    error = (ours.weight.grad.double() - plain.weight.grad).abs().max() / plain.weight.grad.abs().max()
    assert error < 0.02
