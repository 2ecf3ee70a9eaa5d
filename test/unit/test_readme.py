"""What the README says of parameters, arguments and files is what the code has."""

import re
from pathlib import Path

import pytest

from depth_estimation_ros.inference import ModelContract, read_contract, resolve_model
from depth_estimation_ros.parameter_rule import ParameterRule
from depth_estimation_ros.parameters import RULES
from depth_estimation_ros.transport import FULL_BYTES, LEAST_BYTES, MEGABYTE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def table_row(rule: ParameterRule) -> str:
    """One row of the parameter table; on a failure of the test, paste what it prints."""
    allowed = ", ".join(f"`{choice}`" for choice in rule.choices)
    if rule.least is not None:
        allowed = f"{rule.least:.15g} to {rule.greatest:.15g}"
    default = str(rule.default).lower() if isinstance(rule.default, bool) else rule.default
    default = list(default) if isinstance(default, tuple) else default
    effect = f"{rule.applies}, per camera" if rule.per_camera else rule.applies
    return f"| `{rule.name}` | `{default}` | {allowed} | {effect} | {rule.description} |".replace("`` ", "empty ")


def test_the_parameter_table_is_that_of_the_code():
    block = re.search(r"<!-- parameters:.*?-->\n(.*?)\n<!-- end of parameters -->", README, re.DOTALL)
    head = ["| parameter | default | allowed | takes effect | |", "|---|---|---|---|---|"]
    expected = "\n".join(head + [table_row(rule) for rule in RULES.values()])
    assert block is not None
    assert block[1] == expected, f"paste this table:\n{expected}"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_links_lead_to_files(target):
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:config|launch|docs|test)/[\w/.]+\.\w+", README))))
def test_named_files_exist(path):
    assert (ROOT / path).is_file()


def test_every_make_target_in_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_launch_argument_is_listed():
    launch = (ROOT / "launch" / "depth.launch.py").read_text()
    arguments = re.findall(r'^    \("(\w+)", ', launch, re.MULTILINE)
    assert len(arguments) > 8
    section = README[README.index("--show-args") : README.index("### Topics")]
    assert [name for name in arguments if f"`{name}`" not in section] == []


@pytest.mark.parametrize("name", ["default", "quality", "frozen"])
def test_the_accuracy_of_a_bundled_model_is_that_in_its_file(name):
    metrics = read_contract(resolve_model(name)).metrics
    names = ("abs_rel", "rmse", "rmse_relative", "log10", "delta1", "delta2", "delta3")
    figures = [f"{metrics[metric]:.3f}"[1:] for metric in names]
    spans = ["{:.3f} to {:.3f}".format(*metrics["interval95"][metric]).replace("0.", ".") for metric in names]
    rows = re.search(rf"^\| \*\*{name}\*\*, [^|]*\| (.*) \|\n\| 95 % interval \| (.*) \|$", README, re.MULTILINE)
    assert rows is not None
    assert rows[1].split(" | ") == figures
    assert rows[2].split(" | ") == spans


def test_the_sizes_of_shared_memory_are_those_of_the_code():
    section = README[README.index("### Large messages") :]
    full, least = (-(-size_bytes // MEGABYTE) for size_bytes in (FULL_BYTES, LEAST_BYTES))
    assert f"a profile of its own: {full} MB" in section
    assert f"Below {4 * least} MB free the stock transport stays" in section
    assert 4 * full <= 128, "what --shm-size is told"


def test_the_example_sidecar_is_a_valid_contract():
    text = (ROOT / "docs" / "model_file.md").read_text()
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example is not None
    contract = ModelContract.from_json(example[1], "docs/model_file.md")
    assert contract.output.quantity == "inverse_z_depth"
    named = set(re.findall(r"`((?:input|output)\.\w+)`", text))
    fields = {f"input.{name}" for name in vars(contract.input)} | {f"output.{name}" for name in vars(contract.output)}
    assert named == fields - {"input.fixed_size"}
