"""When the stamps of images are called old."""

from __future__ import annotations

import pytest

from depth_estimation_ros.stamp_watch import GREATEST_AGE_S, PATIENCE_S, StampWatch

STAMP_NS = 5_000 * 10**9


class Watch(StampWatch):
    def __init__(self):
        self.now_s = 100.0
        super().__init__(lambda: self.now_s)

    def see(self, age_s: float, after_s: float = 0.1) -> str | None:
        self.now_s += after_s
        self.note(STAMP_NS, STAMP_NS + round(age_s * 1e9))
        return self.remark


def test_old_stamps_are_remarked_once_they_last():
    watch = Watch()
    assert watch.see(3600.0) is None
    assert watch.age_s == pytest.approx(3600.0)
    assert watch.see(3600.0, PATIENCE_S * 0.99) is None
    assert "use_sim_time" in (watch.see(3600.0) or "")
    assert watch.see(3601.0) == watch.see(7200.0)  # one sentence, however old
    assert watch.see(0.1) is None
    assert watch.see(3600.0) is None


@pytest.mark.parametrize("age_s", [-7.0, 0.0, GREATEST_AGE_S])
def test_ages_up_to_a_second_are_well(age_s):
    watch = Watch()
    assert [watch.see(age_s, PATIENCE_S) for _ in range(3)] == [None] * 3


def test_after_a_jump_of_the_clock_the_patience_begins_anew():
    watch = Watch()
    watch.see(3600.0)
    watch.now_s += PATIENCE_S
    watch.forget()
    assert watch.see(3600.0) is None
    assert watch.see(3600.0, PATIENCE_S) is not None


@pytest.mark.parametrize(("stamp_ns", "now_ns"), [(0, STAMP_NS), (STAMP_NS, 0)])
def test_a_time_of_zero_says_nothing(stamp_ns, now_ns):
    watch = Watch()
    for _ in range(3):
        watch.now_s += PATIENCE_S
        watch.note(stamp_ns, now_ns)
        assert (watch.age_s, watch.remark) == (None, None)
