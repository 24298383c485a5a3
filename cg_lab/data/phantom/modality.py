"""Modalities give image formation: the tone of each tissue, and what the machine adds to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.streams import Streams

TONES: dict[str, dict[str, float]] = {
    "CT": {
        "air": 0.0, "fat": 0.3, "soft": 0.48, "lung": 0.1, "organ": 0.46, "fluid": 0.3, "bone": 1.0, "gland": 0.45,
        "lesion": 0.82, "blood": 0.88,
    },
    "MRI": {
        "air": 0.03, "fat": 0.62, "soft": 0.36, "lung": 0.07, "organ": 0.45, "fluid": 0.15, "bone": 0.08, "gland": 0.4,
        "lesion": 0.92, "blood": 0.95,
    },
    "X-ray": {
        "air": 0.05, "fat": 0.36, "soft": 0.5, "lung": 0.2, "organ": 0.5, "fluid": 0.46, "bone": 0.85, "gland": 0.46,
        "lesion": 0.86, "blood": 0.9,
    },
    "US": {
        "air": 0.04, "fat": 0.4, "soft": 0.5, "lung": 0.42, "organ": 0.52, "fluid": 0.2, "bone": 0.95, "gland": 0.6,
        "lesion": 0.03, "blood": 0.98,
    },
}  # fmt: skip
"""Gray value of each tissue; a lesion is bright everywhere but in ultrasound, where it gives no echo."""


def form_image(image: NDArray[np.floating], modality: str, area: str, streams: Streams) -> NDArray[np.floating]:
    """Turn tissue tones into what the modality shows; (N, S, S), about [0, 1]."""
    size = image.shape[1]
    axis = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1
    x, y = axis[None, None, :], axis[None, :, None]
    first, second = streams.noise_pair("noise", size)
    match modality:
        case "CT":
            return _blur(image) + first * streams.uniform("noise level", 0.02, 0.05)
        case "MRI":
            bias = 1 + streams.jitter("bias x", 0.18) * x + streams.jitter("bias y", 0.18) * y - 0.1 * (x * x + y * y)
            level = streams.uniform("noise level", 0.02, 0.05)
            return np.sqrt((_blur(image) * bias + first * level) ** 2 + (second * level) ** 2)
        case "X-ray":
            ribs = 0.1 * np.clip(np.sin((y + 0.35 * x * x + streams.jitter("ribs", 0.1)) * 17), 0, 1)
            ribs = ribs if area == "Lung" else 0.25 * ribs
            scatter = _blur(_blur(_blur(image)))
            mixed = 0.62 * _blur(image) + 0.38 * scatter + ribs * (np.abs(x) < 0.85)
            return 0.06 + 0.92 * mixed + first * streams.uniform("noise level", 0.01, 0.03)
        case _:
            return _form_ultrasound(image, x, y, first, second)


def _form_ultrasound(
    image: NDArray[np.floating],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Speckle, loss with depth and the fan of a curved probe above the image."""
    speckle = np.sqrt(first * first + second * second) * np.float32(1 / 1.25)
    echo = image * (0.55 + 0.45 * _blur(speckle))
    depth = np.sqrt(x * x + (y + 1.75) ** 2)
    echo *= np.clip(1.22 - 0.2 * depth, 0.4, 1.1)
    fan = (depth > 0.8) & (depth < 2.68) & (np.abs(x) < (y + 1.75) * 0.7)
    return echo * fan


def _blur(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Smooth with a 3 x 3 binomial kernel; borders stay."""
    result = image.copy()
    result[:, 1:-1] = 0.25 * image[:, :-2] + 0.5 * image[:, 1:-1] + 0.25 * image[:, 2:]
    across = result.copy()
    across[:, :, 1:-1] = 0.25 * result[:, :, :-2] + 0.5 * result[:, :, 1:-1] + 0.25 * result[:, :, 2:]
    return across
