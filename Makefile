# Two commands for a machine without ROS: `make demo` and `make test`. Both fill .venv from setup.py, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# setuptools warns of every editable install, at length.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check

# make demo SOURCE=room | a folder of images | a video file | a webcam number
SOURCE ?= room
FRAMES ?= 60
DEMO_ARGS ?=

# Packages and libraries of a ROS that is sourced would mix with those in .venv.
ifdef AMENT_PREFIX_PATH
unexport PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION
endif

.PHONY: demo test lint clean

demo: $(VENV)/.installed-demo
	@exec $(BIN)/python -m depth_estimation_ros.demo.run --source "$(SOURCE)" --frames $(FRAMES) $(DEMO_ARGS)

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed-demo: setup.py | $(BIN)/python
	@echo "Installing ROS 2, onnxruntime and OpenCV from PyPI into $(VENV): about a minute, once."
	@$(PIP) --editable '.[ros,demo]'
	@touch $@

$(VENV)/.installed-test: setup.py | $(BIN)/python
	@echo "Installing what the tests need into $(VENV), PyTorch included (6 GB): some minutes, once."
	@$(PIP) --editable '.[ros,demo,train,test]'
	@touch $@ $(VENV)/.installed-demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than 3.10: give a newer one, for example make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@# Without ensurepip it fails half-way, and what it leaves would pass for done.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) demo_output build install log *.egg-info
