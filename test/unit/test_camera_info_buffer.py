"""Which CameraInfo an image gets, and how long it waits for one."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from depth_estimation_ros import camera_info_buffer
from depth_estimation_ros.camera_info_buffer import CameraInfoBuffer


def stamp(ns: int) -> SimpleNamespace:
    return SimpleNamespace(sec=ns // 10**9, nanosec=ns % 10**9)


def camera_info(ns: int, focal_px: float) -> SimpleNamespace:
    k = np.array([focal_px, 0, 80, 0, focal_px, 60, 0, 0, 1])
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    header = SimpleNamespace(stamp=stamp(ns), frame_id="camera")
    return SimpleNamespace(
        header=header,
        width=160,
        height=120,
        k=k,
        d=[],
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        distortion_model="plumb_bob",
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def focal_px(buffer: CameraInfoBuffer, ns: int) -> float:
    found = buffer.find(stamp(ns))
    assert found is not None
    return found.calibration.k[0, 0]


def focal_px_after_waiting(buffer: CameraInfoBuffer, ns: int) -> float:
    buffer.wait_for(stamp(ns))
    return focal_px(buffer, ns)


def focal_px_of_one_that_comes_later(buffer: CameraInfoBuffer, ns: int, sent_px: float) -> float:
    later = threading.Timer(0.05, lambda: buffer.put(camera_info(ns, sent_px)))
    later.start()
    found_px = focal_px_after_waiting(buffer, ns)
    later.join()
    return found_px


@pytest.fixture
def for_ever(monkeypatch):
    """Whoever waits for what never comes is found by the test's own time limit."""
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 3600)
    monkeypatch.setattr(camera_info_buffer, "OWN_WAIT_S", 3600)


def test_the_same_stamp_goes_before_the_latest():
    buffer = CameraInfoBuffer()
    for ns in (1_000_000_001, 2_000_000_002, 3_000_000_003):
        buffer.put(camera_info(ns, focal_px=float(ns // 10**9)))
    assert focal_px(buffer, 2_000_000_002) == 2
    assert focal_px(buffer, 2_000_000_003) == 3
    assert focal_px(buffer, 9_000_000_000) == 3


def test_the_first_image_waits_for_a_camera_info(for_ever):
    buffer = CameraInfoBuffer()
    assert focal_px_of_one_that_comes_later(buffer, 7, 4.0) == 4


def test_the_first_image_waits_longer_where_a_camera_info_is_offered(monkeypatch, for_ever):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(camera_info_buffer, "OFFERED_WAIT_S", 3600)
    assert focal_px_of_one_that_comes_later(CameraInfoBuffer(is_offered=lambda: True), 7, 4.0) == 4


def test_what_is_offered_and_never_sent_is_not_waited_for_again(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(camera_info_buffer, "OFFERED_WAIT_S", 0.02)
    buffer = CameraInfoBuffer(is_offered=lambda: True)
    buffer.wait_for(stamp(1))
    assert buffer.find(stamp(1)) is None
    monkeypatch.setattr(camera_info_buffer, "OFFERED_WAIT_S", 3600)
    buffer.wait_for(stamp(2))
    assert buffer.find(stamp(2)) is None


def test_images_go_on_without_once_the_wait_is_over(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    buffer = CameraInfoBuffer()
    buffer.wait_for(stamp(1))
    assert buffer.find(stamp(1)) is None
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 3600)
    buffer.wait_for(stamp(2))
    assert buffer.find(stamp(2)) is None
    buffer.put(camera_info(3, 4.0))
    assert focal_px_after_waiting(buffer, 4) == 4


def test_closing_ends_the_wait(for_ever):
    buffer = CameraInfoBuffer()
    threading.Timer(0.05, buffer.close).start()
    buffer.wait_for(stamp(1))
    assert buffer.find(stamp(1)) is None


def test_an_image_waits_for_its_own_where_the_camera_stamps_both_alike(for_ever):
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(1, 1.0))
    assert focal_px_after_waiting(buffer, 1) == 1
    assert focal_px_of_one_that_comes_later(buffer, 2, 2.0) == 2


def test_an_image_does_not_wait_for_its_own_where_stamps_differ(for_ever):
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(1, 1.0))
    assert focal_px_after_waiting(buffer, 3) == 1
    assert focal_px_after_waiting(buffer, 4) == 1


def test_after_a_wait_in_vain_images_do_without_for_a_while(monkeypatch, for_ever):
    monkeypatch.setattr(camera_info_buffer, "IMAGES_AFTER_VAIN_WAIT", 3)
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(1, 1.0))
    assert focal_px_after_waiting(buffer, 1) == 1
    monkeypatch.setattr(camera_info_buffer, "OWN_WAIT_S", 0.01)
    assert focal_px_after_waiting(buffer, 2) == 1
    monkeypatch.setattr(camera_info_buffer, "OWN_WAIT_S", 3600)
    buffer.put(camera_info(3, 2.0))
    assert [focal_px_after_waiting(buffer, ns) for ns in (3, 4, 5)] == [2, 2, 2]
    buffer.put(camera_info(6, 3.0))
    assert focal_px_after_waiting(buffer, 6) == 3
    assert focal_px_of_one_that_comes_later(buffer, 7, 4.0) == 4


HOUR_NS = 3600 * 10**9


def test_where_time_jumps_back_the_future_is_forgotten(for_ever):
    buffer = CameraInfoBuffer()
    for number in (1, 2, 3):
        buffer.put(camera_info(HOUR_NS + number, float(number)))
    assert focal_px_after_waiting(buffer, HOUR_NS + 3) == 3
    buffer.put(camera_info(1, 4.0))
    assert focal_px_after_waiting(buffer, 1) == 4
    assert focal_px(buffer, HOUR_NS + 2) == 4  # the recording has not come to that again


def test_an_image_of_the_past_waits_for_a_camera_info_of_the_past(for_ever):
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(HOUR_NS, 1.0))
    assert focal_px_after_waiting(buffer, HOUR_NS) == 1
    assert focal_px_of_one_that_comes_later(buffer, 7, 2.0) == 2


def test_the_last_one_known_outlives_a_jump_after_which_none_comes(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(HOUR_NS, 1.0))
    assert focal_px_after_waiting(buffer, HOUR_NS) == 1
    assert focal_px_after_waiting(buffer, 7) == 1


def test_a_jump_is_no_reason_to_wait_for_what_was_known_before(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(camera_info_buffer, "OFFERED_WAIT_S", 3600)
    buffer = CameraInfoBuffer(is_offered=lambda: True)
    buffer.put(camera_info(HOUR_NS, 1.0))
    assert focal_px_after_waiting(buffer, HOUR_NS) == 1
    assert focal_px_after_waiting(buffer, 7) == 1


def test_stamps_of_zero_are_no_jump(for_ever):
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(HOUR_NS, 1.0))
    assert [focal_px_after_waiting(buffer, ns) for ns in (HOUR_NS + 1, 0, HOUR_NS + 2)] == [1, 1, 1]
