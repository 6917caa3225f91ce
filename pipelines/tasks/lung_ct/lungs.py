"""Where the lungs and the chest are, from grey values alone: for labels that lack a lung mask, and for cropping.

All functions take an image (X, Y, Z) in the lung window (``scale_ct``): float 0..1, air near 0, soft tissue near 0.75.
The approach is the usual one (Hu, Hoffman and Reinhardt, IEEE TMI 20:490, 2001): threshold, drop the air outside the
body, keep the large components, close them so that vessels and dense lesions stay inside.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk, isotropic_closing, isotropic_opening

MIN_COMPONENT = 0.004  # of a slice's area: smaller dark spots are bowel gas, oesophagus, airways
MAX_AIRWAY = 0.03  # of a slice's area: no trachea is larger, even in a picture cropped to the lungs
_AIR_AROUND = 0.02  # of a slice's area: less air around the body is no measure of how dark air is
_BLOOD = 0.05  # by so much (70 HU) the median of any lung, which holds blood, is brighter than air
_TOUCHING = 0.02  # of a picture's rim: with more body there, the picture is cropped
_PLANE = 256  # pixels a side that suffice to tell whether there is lung
CLOSING = 0.02  # of a slice's longer side: bridges vessels and most lesions that touch the pleura


def derive_lung_mask(image: np.ndarray, lesion: np.ndarray | None = None) -> np.ndarray:
    """Lungs with what lies inside them (vessels, lesions), derived slice by slice.

    Args:
        image: (X, Y, Z) float, lung window 0..1.
        lesion: (X, Y, Z) bool or None; known lesions are taken into the mask, however dense.

    Returns:
        (X, Y, Z) bool. All False in slices without a dark region of sufficient size inside the body.
        It is a derived mask: good for framing and for extent in most cases, wrong where a lung is wholly opaque.
    """
    threshold = air_threshold(image)
    mask = np.zeros(image.shape, dtype=bool)
    for z in range(image.shape[2]):
        known = None if lesion is None else lesion[:, :, z].astype(bool)
        mask[:, :, z] = _derive_slice(image[:, :, z], threshold, known)
    return mask


def aerated_share(image: np.ndarray) -> np.ndarray:
    """The part of each slice that is aerated lung, by its grey values alone; (Z,), 0..1.

    Args:
        image: (X, Y, Z) float, axial, lung window 0..1; looked at with no more than 256 pixels a side.
    """
    step = max(1, -(-max(image.shape[:2]) // _PLANE))
    small = image[::step, ::step]
    lungs = derive_lung_mask(small)
    for z in range(small.shape[2]):
        lungs[:, :, z] &= ~gas_in_slice(small[:, :, z], lungs[:, :, z])
    return lungs.mean(axis=(0, 1))


def gas_in_slice(slice_: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Those parts of what is called lung that are as dark as the air around the body: gas in the bowel, which holds no
    blood. None in a picture without such air, where that cannot be told.

    Args:
        slice_: (X, Y) float, lung window 0..1. lungs: (X, Y) bool.

    Returns:
        (X, Y) bool, a part of ``lungs``.
    """
    around = air_around(slice_ < air_threshold(slice_))
    gas = np.zeros(lungs.shape, dtype=bool)
    if around.mean() < _AIR_AROUND:
        return gas
    limit = float(np.median(slice_[around])) + _BLOOD
    parts, count = ndimage.label(lungs)
    medians = ndimage.median(slice_, parts, range(1, count + 1)) if count else []
    return np.isin(parts, [k for k, median in enumerate(medians, start=1) if median < limit])


def is_whole_body(body: np.ndarray) -> bool:
    """Whether a slice's body (X, Y) bool lies within the picture, so that what is outside of it is air and table."""
    rim = np.concatenate([body[0], body[-1], body[:, 0], body[:, -1]])
    return bool(body.any() and rim.mean() < _TOUCHING)


def air_around(dark: np.ndarray) -> np.ndarray:
    """Of the dark pixels of a slice (X, Y) bool, those of the air outside the body."""
    components, outside = _dark_components(dark)
    return np.isin(components, list(outside))


def air_threshold(image: np.ndarray) -> float:
    """The grey value between aerated lung and soft tissue: Otsu's, held between 0.3 and 0.6."""
    step = max(1, image.size // 1_000_000)
    sample = image.reshape(-1)[::step]
    return float(np.clip(threshold_otsu(sample) if np.ptp(sample) > 0 else 0.45, 0.3, 0.6))


def body_mask(image: np.ndarray) -> np.ndarray:
    """The body in each slice, lungs and all: what is not outside air, without the table. (X, Y, Z) bool."""
    threshold = air_threshold(image)
    mask = np.zeros(image.shape, dtype=bool)
    for z in range(image.shape[2]):
        mask[:, :, z] = _body_slice(image[:, :, z], threshold)
    return mask


def _body_slice(slice_: np.ndarray, threshold: float) -> np.ndarray:
    components, outside = _dark_components(slice_ < threshold)
    inside = np.ones(max(components.max(), *outside) + 1, dtype=bool)
    inside[list(outside)] = False
    body = inside[components]
    if body.all() or not body.any():  # an isotropic opening needs both
        return body
    return _largest_component(isotropic_opening(body, max(1.0, 0.008 * max(slice_.shape))))


def _dark_components(dark: np.ndarray) -> tuple[np.ndarray, set[int]]:
    """Components of the dark pixels (0 is none), and which of them are the air outside the body.

    That air holds a corner of the picture. Lungs may touch an edge (pictures cropped to the lungs), but a component
    that runs along most of the rim is the air around the patient, corners cut off or not. Lines at the edges that are
    dark from end to end are air, or a border that somebody put around a cropped picture: lungs that touch it are lungs.
    """
    inner = _without_dark_lines(dark)
    within, count = ndimage.label(dark[inner])
    corners = within[[0, 0, -1, -1], [0, -1, 0, -1]]
    rim = np.concatenate([within[0], within[-1], within[:, 0], within[:, -1]])
    along_rim = np.bincount(rim, minlength=count + 1)
    outside = (set(corners.tolist()) | set(np.flatnonzero(along_rim > 0.5 * rim.size).tolist())) - {0}
    components = np.full(dark.shape, count + 1, dtype=within.dtype)
    components[inner] = within
    return components, outside | {count + 1}


def _without_dark_lines(dark: np.ndarray) -> tuple[slice, slice]:
    """The box of a slice (X, Y) within the lines at its edges that are dark from end to end; all of it if all are."""
    columns, rows = (np.flatnonzero(~dark.all(axis=axis)) for axis in (1, 0))
    if not columns.size:
        return slice(None), slice(None)
    return slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def _derive_slice(slice_: np.ndarray, threshold: float, lesion: np.ndarray | None) -> np.ndarray:
    components, outside = _dark_components(slice_ < threshold)
    count = int(components.max())
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    keep = [k for k in range(1, count + 1) if k not in outside and sizes[k] >= MIN_COMPONENT * slice_.size]
    airway = _airways(slice_, components, keep, sizes)
    lungs = np.isin(components, [k for k in keep if k not in airway])
    if lesion is not None:
        lungs |= lesion
    return close_lungs(lungs)


def _airways(slice_: np.ndarray, components: np.ndarray, keep: list[int], sizes: np.ndarray) -> set[int]:
    """Trachea and main bronchi among the dark components: small, and far darker than the lung, which holds blood."""
    if not keep:
        return set()
    means = dict(zip(keep, ndimage.mean(slice_, components, keep), strict=True))
    lung = means[max(keep, key=lambda k: sizes[k])]
    return {k for k in keep if sizes[k] < MAX_AIRWAY * slice_.size and means[k] < 0.6 * lung}


def close_lungs(lungs: np.ndarray) -> np.ndarray:
    """Closes a slice's lungs, (X, Y) bool, by ``CLOSING`` of the longer side and fills holes, each lung on its own."""
    radius = max(1.0, CLOSING * max(lungs.shape))
    width = int(np.ceil(radius)) + 1
    components, _ = ndimage.label(lungs, structure=disk(1))
    closed = lungs.copy()
    for k, box in enumerate(ndimage.find_objects(components), start=1):
        # each component by itself: closing both lungs at once would bridge the mediastinum
        part = np.pad(components[box] == k, width)
        part = ndimage.binary_fill_holes(isotropic_closing(part, radius))
        closed[box] |= part[width:-width, width:-width]
    return closed
