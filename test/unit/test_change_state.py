"""A request that does not fit the state is answered, though rclpy before Kilted raises."""

from __future__ import annotations

from types import SimpleNamespace

from depth_estimation_ros.change_state import answer_misfits


def node_double(answer):
    errors: list[str] = []
    node = SimpleNamespace(
        _service_change_state=SimpleNamespace(callback=answer), get_logger=lambda: SimpleNamespace(error=errors.append)
    )
    answer_misfits(node)
    return node._service_change_state.callback, errors


def request(label: str) -> SimpleNamespace:
    return SimpleNamespace(transition=SimpleNamespace(id=1, label=label))


def test_an_error_becomes_a_failure_and_one_sentence():
    def raise_as_humble_does(request, response):
        raise RuntimeError("Failed to trigger lifecycle state machine transition:\nno transition matching 1")

    ask, errors = node_double(raise_as_humble_does)
    response = SimpleNamespace(success=True)
    assert ask(request(""), response) is response
    assert response.success is False
    [error] = errors
    assert "id 1" in error
    assert "\n" not in error
    ask(request("configure"), response)
    assert "configure" in errors[1]


def test_an_answer_passes_as_it_is():
    ask, errors = node_double(lambda request, response: (request, response))
    assert ask("what is asked", "what is answered") == ("what is asked", "what is answered")
    assert errors == []
