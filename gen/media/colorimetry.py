"""Primaries and transfer functions of colour spaces, by their numbers in ITU-T H.273; pictures and clips share them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

BT709, BT2020, P3_D65 = 1, 9, 12
PQ, HLG = 16, 18

SDR_WHITE = 203.0
"""Luminance in cd/m2 of SDR white (diffuse white) in HDR: ITU-R BT.2408."""
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
"""Nominal peak luminance in cd/m2 and system gamma of the reference display of HLG: ITU-R BT.2100, table 5."""

CHROMATICITIES = {
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3_D65: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""x and y of red, green and blue. All have the white point D65."""
D65 = (0.3127, 0.3290)


@cache
def to_xyz(primaries: int) -> NDArray[np.float64]:
    """Linear RGB of these primaries -> CIE XYZ, white at Y = 1 (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*CHROMATICITIES[primaries], D65)]).T
    rgb, white = columns[:, :3], columns[:, 3]
    return rgb * np.linalg.solve(rgb, white)


@cache
def to_bt709(primaries: int) -> NDArray[np.float32]:
    """Linear RGB of these primaries -> linear RGB of BT.709, which sRGB shares."""
    return (np.linalg.inv(to_xyz(BT709)) @ to_xyz(primaries)).astype(np.float32)


def pq_light(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Signal 0..1 -> light of the display, 1 = SDR white. BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return (10000 / SDR_WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)).astype(np.float32)


def hlg_scene(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Signal 0..1 -> light of the scene, 0..1. BT.2100, table 5, inverse OETF."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


def hlg_display(scene: NDArray[np.float32], primaries: int = BT2020) -> NDArray[np.float32]:
    """Light of the scene (H, W, 3) -> light of the display, 1 = SDR white. BT.2100, table 5, OOTF."""
    luminance = scene @ to_xyz(primaries)[1].astype(np.float32)
    return scene * (HLG_PEAK / SDR_WHITE * luminance ** np.float32(HLG_GAMMA - 1))[..., None]


def srgb_light(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """sRGB signal 0..1 -> linear light 0..1. IEC 61966-2-1."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb_signal(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Linear light 0..1 -> sRGB signal 0..1. IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
