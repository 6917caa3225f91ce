"""Which tests one of several workers runs together."""

from __future__ import annotations

import pytest
from sharing import share


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/readers/test_xray.py::test_a[x-1]", "tests/readers/test_xray.py"),
        ("tests/bundles/test_bundle_files.py::test_there_are_bundles", "tests/bundles/test_bundle_files.py"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[train-skin_lesion_segmentation]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation-frozen]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[5-skin_lesion_segmentation-skips]", "skin_lesion_segmentation skips"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation-skips-5]", "skin_lesion_segmentation skips"),
        ("tests/networks/test_contract.py::test_a[LesionUNet-sides]", "tests/networks/test_contract.py LesionUNet"),
        ("tests/starting/test_begun_bundles.py::test_a[moles]", "tests/starting/test_begun_bundles.py moles"),
    ],
)
def test_share(nodeid: str, name: str) -> None:
    assert share(nodeid) == name
