"""The pure parts of benchmarks/: what is compared, how ratios are taken, and which points are on the front."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_module():
    """Import a script of benchmarks/ as Python does when it is run: its folder first on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


def test_fastdepth_has_the_published_size(benchmark_module):
    """Wofk et al., table II: 3.9 million weights and 0.74 thousand million multiply-adds before pruning."""
    comparison, fastdepth = benchmark_module("network_comparison"), benchmark_module("fastdepth")
    network = fastdepth.FastDepth().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == pytest.approx(3.93e6, rel=0.02)
    assert comparison.multiply_adds(network, 224, 224) == pytest.approx(0.74e9, rel=0.03)
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_multiply_adds_of_a_convolution_have_a_closed_form(benchmark_module):
    comparison = benchmark_module("network_comparison")
    plain = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    depthwise = torch.nn.Conv2d(3, 3, 5, padding=2, groups=3)
    assert comparison.multiply_adds(plain, 32, 48) == 16 * 24 * 8 * 3 * 9
    assert comparison.multiply_adds(depthwise, 32, 48) == 32 * 48 * 3 * 25


def test_every_network_is_called_in_bursts_and_in_turn(benchmark_module):
    called = []
    bursts = benchmark_module("bursts")
    taken_ms = bursts.time_in_turn([lambda: called.append("a"), lambda: called.append("b")], 3)
    burst = bursts.UNTIMED + bursts.TIMED
    assert called == (["a"] * burst + ["b"] * burst) * 3
    assert taken_ms.shape == (3, 2, bursts.TIMED)
    assert (taken_ms >= 0).all()


def test_ratios_are_taken_round_by_round(benchmark_module):
    """A machine that slows down to a half in some rounds changes the times and not the ratios."""
    comparison = benchmark_module("network_comparison")
    names = ("model", "paper, eager PyTorch", "paper, same input", "FastDepth", "model at 224")
    entrants = [comparison.Entrant(name, "", 1, 1, 1, 1.0, None) for name in names]
    slowness = np.array([1.0, 2.0, 1.0, 2.0, 5.0])[:, None]
    result = comparison.summarise(entrants, slowness * [10.0, 170.0, 9.0, 7.0, 7.0])
    assert [ratio["median"] for ratio in result["ratios"]] == pytest.approx([17, 0.9, 1])
    assert [ratio["quartiles"] for ratio in result["ratios"]] == [pytest.approx([r, r]) for r in (17, 0.9, 1)]
    assert [ratio["met"] for ratio in result["ratios"]] == [True, False, True]
    assert result["entries"][0]["median_ms"] == 20
    assert result["entries"][0]["quartiles_ms"] == [10, 20]
    assert json.loads(json.dumps(result)) == result


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_point_beats(benchmark_module, pairs):
    pareto = benchmark_module("pareto")
    points = [pareto.Point(str(n), float(a), None, float(ms)) for n, (a, ms) in enumerate(pairs)]

    def beaten(point):
        return any(
            other.abs_rel <= point.abs_rel
            and other.latency_ms <= point.latency_ms
            and (other.abs_rel, other.latency_ms) != (point.abs_rel, point.latency_ms)
            for other in points
        )

    found = pareto.front(points)
    expected = {(point.latency_ms, point.abs_rel) for point in points if not beaten(point)}
    assert [(point.latency_ms, point.abs_rel) for point in found] == sorted(expected)


def test_a_results_file_is_drawn(benchmark_module, tmp_path):
    pareto = benchmark_module("pareto")
    evaluation = {"abs_rel": 0.2, "interval95": {"abs_rel": [0.18, 0.22]}}
    (tmp_path / "metrics.json").write_text(json.dumps(evaluation))
    (tmp_path / "speed.json").write_text(json.dumps({"entries": [{"name": "m.onnx", "median_ms": 17.0}]}))
    listed = [
        {"name": "ours", "evaluation": "metrics.json", "speed": "speed.json", "entry": "m.onnx"},
        {"name": "slow", "evaluation": {"abs_rel": 0.15}, "speed": {"median_ms": 300}},
    ]
    (tmp_path / "results.json").write_text(json.dumps(listed))
    points = pareto.read_points(tmp_path / "results.json")
    assert points == [pareto.Point("ours", 0.2, (0.18, 0.22), 17.0), pareto.Point("slow", 0.15, None, 300)]
    assert pareto.draw(points, tmp_path / "new" / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert pareto.draw(points[:1], tmp_path / "one.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "at least one"),
        ("no json", "cannot be read"),
        ('[{"name": "a", "speed": {}}]', "lacks evaluation"),
        ('[{"name": "a", "evaluation": "none.json", "speed": {}}]', r"none\.json cannot be read"),
        ('[{"name": "a", "evaluation": {}, "speed": {"median_ms": 1}}]', "needs abs_rel"),
        ('[{"name": "a", "evaluation": {}, "speed": {"entries": [{"name": "b"}]}}]', "no 'a', only b"),
    ],
)
def test_a_results_file_that_cannot_be_drawn_says_why(benchmark_module, tmp_path, text, reason):
    pareto = benchmark_module("pareto")
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(pareto.ResultsError, match=reason):
        pareto.read_points(tmp_path / "results.json")
