"""Which CameraInfo an image gets, and how long it waits for one."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

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


def test_the_same_stamp_goes_before_the_latest():
    buffer = CameraInfoBuffer()
    for ns in (1_000_000_001, 2_000_000_002, 3_000_000_003):
        buffer.put(camera_info(ns, focal_px=float(ns // 10**9)))
    assert focal_px(buffer, 2_000_000_002) == 2
    assert focal_px(buffer, 2_000_000_003) == 3
    assert focal_px(buffer, 9_000_000_000) == 3


def test_stamps_that_jump_back_are_found_as_well():
    buffer = CameraInfoBuffer()
    buffer.put(camera_info(5_000_000_000, 5.0))
    buffer.put(camera_info(1_000_000_000, 1.0))
    assert focal_px(buffer, 1_000_000_000) == 1
    assert focal_px(buffer, 2_000_000_000) == 1


def test_the_first_image_waits_for_a_camera_info():
    buffer = CameraInfoBuffer()
    later = threading.Timer(0.05, lambda: buffer.put(camera_info(7, 4.0)))
    later.start()
    assert focal_px(buffer, 7) == 4
    later.join()


def test_images_go_on_without_once_the_wait_is_over(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 0.01)
    buffer = CameraInfoBuffer()
    assert buffer.find(stamp(1)) is None
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 3600)
    assert buffer.find(stamp(2)) is None
    buffer.put(camera_info(3, 4.0))
    assert focal_px(buffer, 4) == 4


def test_closing_ends_the_wait(monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "FIRST_WAIT_S", 3600)
    buffer = CameraInfoBuffer()
    threading.Timer(0.05, buffer.close).start()
    assert buffer.find(stamp(1)) is None
