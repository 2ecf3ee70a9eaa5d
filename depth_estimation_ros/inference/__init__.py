"""From a model file and an RGB image to metric depth. Knows nothing of ROS, and of torch only for `.pt2` programs."""

from depth_estimation_ros.inference.contract import InputContract, ModelContract, OutputContract
from depth_estimation_ros.inference.errors import BackendError, InferenceError, ModelFileError
from depth_estimation_ros.inference.model_file import default_model_path, read_contract, resolve_model
from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Prediction, Predictor, load_predictor

__all__ = [
    "BackendError",
    "InferenceError",
    "InputContract",
    "ModelContract",
    "ModelFileError",
    "OutputContract",
    "Prediction",
    "Predictor",
    "choose_network_size",
    "default_model_path",
    "load_predictor",
    "read_contract",
    "resolve_model",
]
