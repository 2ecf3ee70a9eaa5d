"""What is said twice about the package agrees, and all that is named exists. Needs no ROS."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import setuptools
import yaml

from depth_estimation_ros.parameter_rule import ParameterRule
from depth_estimation_ros.parameters import RULES

ROOT = Path(__file__).parents[2]
PACKAGE = "depth_estimation_ros"

# What supplies an import where neither the name itself, nor the usual python3-, -pip or ros- around it, does.
SUPPLIERS = {"cv2": ("opencv-python-headless", "python3-opencv"), "rosbags": ("rosbags-image",), "PIL": ("pillow",)}
# Imported only where installed: each of these has another way beside it.
ALTERNATIVES = {"bondpy", "cv_bridge", "rosbags", "tf2_msgs", "tf2_ros", "torch"}


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """The arguments that setup.py gives to setup()."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
        runpy.run_path("setup.py")
    return given


def text(manifest: ElementTree.Element, tag: str) -> str:
    [element] = manifest.findall(tag)
    assert element.text
    return element.text


def dependencies(manifest: ElementTree.Element, *tags: str) -> set[str]:
    return {element.text or "" for tag in tags for element in manifest.findall(tag)}


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0] for requirement in requirements}


def imported(*paths: Path) -> dict[str, str]:
    """Top-level names that the Python files import, except the standard library and our own, and one file for each."""
    found = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found[name.partition(".")[0]] = str(path.relative_to(ROOT))
    ours = {PACKAGE, "depth_training"}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | ours}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def is_supplied(name: str, by: set[str]) -> bool:
    plain = name.replace("_", "-")
    usual = {name, plain, f"ros-{plain}", f"python3-{plain}", f"python3-{plain}-pip"}
    return bool(by & (usual | set(SUPPLIERS.get(name, ()))))


def test_the_manifest_is_a_whole_format_3_manifest(manifest):
    assert (manifest.tag, manifest.get("format")) == ("package", "3")
    assert text(manifest, "name") == PACKAGE
    assert re.fullmatch(r"\d+\.\d+\.\d+", text(manifest, "version"))
    assert text(manifest, "description")
    assert text(manifest, "export/build_type") == "ament_python"
    # With a malformed address colcon only warns, and installs without the hook that makes the package findable.
    [maintainer] = manifest.findall("maintainer")
    assert re.fullmatch(r"[\w.+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", maintainer.get("email", ""))


def test_manifest_and_setup_say_the_same(manifest, metadata):
    [maintainer] = manifest.findall("maintainer")
    assert metadata["name"] == text(manifest, "name")
    assert metadata["version"] == text(manifest, "version")
    assert metadata["license"] == text(manifest, "license")
    assert metadata["maintainer"] == maintainer.text
    assert metadata["maintainer_email"] == maintainer.get("email")


def test_the_changelog_begins_with_this_version(metadata):
    first = re.search(r"^(\d+\.\d+\.\d+)\b.*\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert first
    assert first[1] == metadata["version"]


def test_the_licence_file_is_the_licence_that_is_named(manifest):
    [licence] = manifest.findall("license")
    assert licence.text == "Apache-2.0"
    head = (ROOT / licence.get("file", "")).read_text()[:200]
    assert "Apache License" in head
    assert "Version 2.0" in head


def test_every_command_leads_to_a_function(metadata):
    for command in metadata["entry_points"]["console_scripts"]:
        module, _, function = command.partition("=")[2].strip().partition(":")
        source = ROOT / f"{module.replace('.', '/')}.py"
        assert source.is_file(), command
        # Read, not imported: the node's modules need ROS.
        defined = {node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert function in defined, command


def test_every_data_file_exists_and_none_is_forgotten(metadata):
    places = {source: folder for folder, sources in metadata["data_files"] for source in sources}
    assert all((ROOT / source).is_file() for source in places)
    share = f"share/{PACKAGE}"
    assert places["package.xml"] == share
    assert places[f"resource/{PACKAGE}"] == "share/ament_index/resource_index/packages"
    examples = ("launch/examples/*.launch.py", "launch/examples")
    for pattern, folder in (
        examples,
        ("launch/*.launch.py", "launch"),
        ("config/*.yaml", "config"),
        ("config/*.rviz", "config"),
    ):
        found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)]
        assert found
        assert {places.get(source) for source in found} == {f"{share}/{folder}"}


def test_ros2_run_finds_every_executable(metadata):
    [sources] = [sources for folder, sources in metadata["data_files"] if folder == f"lib/{PACKAGE}"]
    assert sorted(sources) == sorted(f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir())
    assert {"scripts/depth_node", "scripts/calibrate_scale", "scripts/doctor"} <= set(sources)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").iterdir()), ids=lambda script: script.name)
def test_an_executable_takes_the_first_python_on_the_path(script):
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert [name.partition(".")[0] for name in _imports_of(script)] == ["sys", PACKAGE]


def _imports_of(script: Path) -> Iterator[str]:
    for node in ast.parse(script.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_container_copies_what_exists_and_starts_an_executable():
    dockerfile = (ROOT / "Dockerfile").read_text()
    [entrypoint] = re.findall(r'^ENTRYPOINT \["/ros2_ws/src/depth_estimation_ros/(.+)"\]$', dockerfile, re.MULTILINE)
    assert os.access(ROOT / entrypoint, os.X_OK)
    copied = re.findall(r"^COPY (\S+) ", dockerfile, re.MULTILINE)
    assert copied
    assert all((ROOT / source).exists() for source in copied)


def test_all_packages_and_what_lies_beside_their_code_are_installed(metadata):
    folders = {path.parent for path in [*python_files(PACKAGE), *python_files("depth_training")]}
    assert set(metadata["packages"]) == {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    for package, patterns in metadata["package_data"].items():
        installed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        files = {path for path in (ROOT / package).rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
        assert files - set(python_files(package)) == installed


def test_what_the_node_imports_is_there_on_a_ros_machine_and_from_pip(manifest, metadata):
    runtime = [path for path in python_files(PACKAGE) if "demo" not in path.parts]
    from_ros = dependencies(manifest, "depend", "exec_depend")
    from_pip = requirement_names([*metadata["install_requires"], *metadata["extras_require"]["ros"]])
    for name, path in imported(*runtime).items():
        if name in ALTERNATIVES:
            continue
        assert is_supplied(name, from_ros), f"{path} imports {name}, package.xml has no exec_depend for it"
        assert is_supplied(name, from_pip), f"{path} imports {name}, setup.py has no requirement for it"
    for name, path in imported(*python_files("launch")).items():
        assert is_supplied(name, from_ros), f"{path} imports {name}, package.xml has no exec_depend for it"


def test_the_launch_files_leave_rclpy_alone():
    """What it has differs between distributions, and a launch file that cannot be imported starts nothing."""
    assert not {"rclpy", "rcl_interfaces"} & set(imported(*python_files("launch")))


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_sourced_ros_stays_out_of_the_environment_of_make(tmp_path):
    sourced = {name: str(tmp_path) for name in ("AMENT_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    command = ["make", "--silent", "--eval=show: ; @env", "show"]

    def seen(environment: dict[str, str]) -> set[str]:
        shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return {line.partition("=")[0] for line in shown.stdout.splitlines()}

    plain = {name: value for name, value in os.environ.items() if name not in sourced}
    assert not set(sourced) & seen({**plain, **sourced, "ROS_DISTRO": "jazzy"})
    assert "LD_LIBRARY_PATH" in seen({**plain, "LD_LIBRARY_PATH": str(tmp_path)})  # a GPU's, perhaps


def test_every_import_has_a_dependency(manifest, metadata):
    extras = [requirement for extra in metadata["extras_require"].values() for requirement in extra]
    known = requirement_names([*metadata["install_requires"], *extras])
    known |= dependencies(manifest, "depend", "exec_depend")
    for name, path in imported(*python_files(PACKAGE), *python_files("depth_training")).items():
        assert is_supplied(name, known), f"{path} imports {name}, which neither package.xml nor setup.py brings"


def test_no_ros_dependency_is_named_in_vain(manifest):
    used = imported(*python_files(PACKAGE), *python_files("launch"))
    needed = {name for name in dependencies(manifest, "depend", "exec_depend") if not name.startswith("python3-")}
    # rviz2 is started, and tf2_ros is C++ alone: its Python module comes with tf2_ros_py.
    assert needed - set(used) == {"rviz2", "tf2_ros_py"}, "all others are imported"
    tests = imported(*python_files("test"))
    needed = {name for name in dependencies(manifest, "test_depend") if not name.startswith("python3-")}
    assert needed <= set(tests)


def test_the_parameter_file_gives_every_parameter_its_default():
    document = yaml.safe_load((ROOT / "config" / "depth.yaml").read_text())
    given = flat(document["/**"]["ros__parameters"])
    # YAML has lists where a fixed set of values has tuples.
    defaults = {name: list(r.default) if isinstance(r.default, tuple) else r.default for name, r in RULES.items()}
    assert {name: (type(value), value) for name, value in given.items()} == {
        name: (type(default), default) for name, default in defaults.items()
    }
    assert list(given) == list(RULES)


def test_the_parameter_file_says_above_each_parameter_what_it_is():
    lines = [line.strip() for line in (ROOT / "config" / "depth.yaml").read_text().splitlines()]
    for name, rule in RULES.items():
        comment = f"# {rule.description}{allowed(rule)}"
        key = lines[lines.index(comment) + 1].partition(":")[0]
        assert key == name.rpartition(".")[2]


def allowed(rule: ParameterRule) -> str:
    if rule.choices:
        return f" [{'|'.join(rule.choices)}]"
    return "" if rule.least is None else f" [{rule.least:.10g} to {rule.greatest:.10g}]"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
