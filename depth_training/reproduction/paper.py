"""The paper's own numbers and claims, as printed (Wang et al., Monocular Depth Estimation Based on CNNs)."""

from __future__ import annotations

from depth_training.reproduction.experiments import MOBILENET, SQUEEZENET

TITLE = "Wang, Wang, Chen, Qiu: Monocular Depth Estimation Based on Convolutional Neural Networks"
EPOCHS = 7  # section 2.4
SPLIT_SHARES = (79, 20, 1)  # training, validation, test; section 2.4
SUBSET_IMAGES = 2000  # sections 2.4 and 3.4

# Column heads as the paper prints them. Its "RMS" is relative to the true depth (formula in section 3.1).
METRICS = {
    "abs_rel": "Rel",
    "rmse_relative": "RMS (relative)",
    "log10": "log10",
    "delta1": "δ1",
    "delta2": "δ2",
    "delta3": "δ3",
}
HIGHER_IS_BETTER = ("delta1", "delta2", "delta3")
LOSS = "loss_cm"  # what the paper's "Loss" column is nearest to; it names no unit


def _row(*values: float) -> dict[str, float]:
    return dict(zip((*METRICS, LOSS), values, strict=False))


TABLE1 = {
    MOBILENET: _row(0.228, 0.337, 0.088, 0.661, 0.891, 0.968),
    SQUEEZENET: _row(0.412, 0.575, 0.151, 0.405, 0.690, 0.867),
}
TABLE2 = {
    "normalization": _row(0.3175, 0.4234, 0.1380, 0.4176, 0.7306, 0.9214, 45.3805),
    "grayscale": _row(0.3195, 0.4204, 0.1379, 0.3936, 0.7364, 0.9258, 45.5978),
    "none": _row(0.3501, 0.4732, 0.1474, 0.3974, 0.6989, 0.8924, 47.1242),
}

CONTRADICTIONS = (
    'Section 2.4 trains "three Encoder-Decoder pairs" and names two; there are two in Table 1.',
    "Section 3.4 says that the thresholded accuracies increase with grayscale. In Table 2 δ1 falls, "
    "from 0.3974 (None) to 0.3936; δ2 and δ3 rise.",
    'Section 3.2 calls the accuracy of MobileNetV2 "slightly higher" than that of SqueezeNet. In Table 1 δ1 is '
    "0.661 against 0.405.",
    "Section 2.1.2 gives MobileNetV2 four pooling layers and SqueezeNet three. MobileNetV2 has none, and five strided "
    "stages; SqueezeNet has three and a strided convolution before them. Four and three decoder blocks so end at half "
    "the image's size.",
    "Section 3.1 takes its six measures from reference [1], yet its rms divides by the true depth, which that of the "
    "reference does not. Here it is called relative.",
    'Table 2 has a column "Loss" without a unit, and section 2.3 gives λ no value. The report takes the 0.1 of the '
    "reference and prints the loss in metres and in centimetres.",
)
