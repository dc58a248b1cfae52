"""How likely a pixel of a box is object, from its place in the box, its colour and its texture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

ROUNDS = 6  # of colour models and probabilities made of each other
WORDS, SAMPLED = 32, 4000  # colours the crop is described by, and pixels they are chosen from
LIGHTNESS, TEXTURE = 0.6, 0.5  # against a and b: shadows matter less; the deviation of lightness around a pixel
TEXTURE_SIDE = 7  # of the window it is measured in
SOFTNESS = 4.0  # LAB units: how far a pixel takes part in neighbouring words
EVIDENCE, LARGEST = 2.0, 4.0  # factor on the log-ratio of the colours, and the bound on that ratio
MIDDLE, RIM, RIM_RADIUS = 2.5, -2.0, 1.2  # log-odds of the place: centre of the box, and that far out (1 = side)
DOUBTFUL = 0.25  # weight of doubtful pixels in the background's colours, next to certain ones
FEW = 0.02  # certain background pixels per pixel of the box below which they are too few to speak alone
GUIDE, FLAT = 6, 20.0  # radius of the guided filter in pixels; variance (LAB²) below which it smooths


def object_probability(rgb: np.ndarray, down: np.ndarray, across: np.ndarray, background: Bools) -> Floats:
    """Probability of being object for every pixel around one box.

    A naive Bayes model of place and colour, in the manner of GrabCut (Rother et al. 2004) but with what all tight
    boxes have in common as a prior: the middle is object, the corners are not. Colours and textures are described by
    the nearest of a few k-means centres; the colours of object and background and the probabilities are made of each
    other in turn, and a guided filter (He et al. 2013, TPAMI 35(6)) draws the probabilities to the edges of the image.

    Args:
        rgb: (h, w, 3) uint8, the box with some surroundings.
        down: (h, 1) where the rows lie in the box: −1 and 1 are its sides.
        across: (1, w) likewise.
        background: (h, w) bool, outside every box.

    Returns:
        (h, w) float32, 0 outside the box.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside = (np.abs(down) <= 1) & (np.abs(across) <= 1)
    place = np.clip(MIDDLE - (MIDDLE - RIM) * (down**2 + across**2) / RIM_RADIUS**2, RIM - 1, MIDDLE)
    prior = place.astype(np.float32)
    words = _words(lab)
    certain = (background & ~inside).ravel().astype(np.float32)
    doubtful = DOUBTFUL if certain.sum() > FEW * inside.sum() else 1.0
    drawn_to_edges = guided_filter(lab)
    probability = np.where(inside, _sigmoid(prior), 0).astype(np.float32)
    for _ in range(ROUNDS):
        of_object = _shares((probability * inside).ravel() @ words)
        of_background = _shares((certain + doubtful * ((1 - probability) * inside).ravel()) @ words)
        ratio = np.log((words @ of_object + 1e-4) / (words @ of_background + 1e-4)).reshape(inside.shape)
        probability = _sigmoid(prior + EVIDENCE * np.clip(ratio, -LARGEST, LARGEST)) * inside
        probability = np.clip(drawn_to_edges(probability), 0, 1) * inside
    return probability


def guided_filter(guide: Floats) -> Callable[[Floats], Floats]:
    """Edge-preserving smoothing by local linear models of a colour image (He et al. 2013, eq. 19 to 21).

    Args:
        guide: (h, w, 3) float32.

    Returns:
        A function that filters (h, w) float32.
    """

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (2 * GUIDE + 1, 2 * GUIDE + 1), borderType=cv2.BORDER_REFLECT))

    mean_guide = mean(guide)
    products = [mean(guide * guide[..., i : i + 1]) - mean_guide * mean_guide[..., i : i + 1] for i in range(3)]
    inverse = np.linalg.inv(np.stack(products, axis=-1) + FLAT * np.eye(3, dtype=np.float32))

    def smooth(values: Floats) -> Floats:
        mean_values = mean(values)
        covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
        slope = (inverse @ covariance[..., None])[..., 0]
        offset = mean_values - (slope * mean_guide).sum(-1)
        return np.asarray((mean(slope) * guide).sum(-1) + mean(offset), dtype=np.float32)

    return smooth


def _words(lab: Floats) -> Floats:
    """(pixels, words) float32: how far each pixel takes part in each word; rows sum to 1."""
    lightness = np.ascontiguousarray(lab[..., 0])
    mean = cv2.blur(lightness, (TEXTURE_SIDE, TEXTURE_SIDE))
    variance = cv2.blur(lightness * lightness, (TEXTURE_SIDE, TEXTURE_SIDE)) - mean * mean
    texture = np.sqrt(np.maximum(variance, 0))
    features = np.dstack((LIGHTNESS * lightness, lab[..., 1:], TEXTURE * texture)).reshape(-1, 4)
    sampled = np.ascontiguousarray(features[:: max(1, len(features) // SAMPLED)])
    stop = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 8, 1.0)
    cv2.setRNGSeed(0)
    count = min(WORDS, len(sampled) // 4 + 1)
    _, _, centres = cv2.kmeans(sampled, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    distance = (features**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * features @ centres.T
    share = np.exp((distance.min(1, keepdims=True) - distance) / (2 * SOFTNESS**2))
    return np.asarray(share / share.sum(1, keepdims=True), dtype=np.float32)


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / max(counts.sum(), 1e-6), dtype=np.float32)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
