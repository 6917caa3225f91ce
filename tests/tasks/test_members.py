"""What single predictions find is counted, without what was taken out of their average."""

from __future__ import annotations

import numpy as np
import torch

from pipelines.tasks.lung_ct.transforms import CountMembersd, SplitMembersd


def test_members_are_split_off_and_counted():
    pred = torch.zeros(3, 4, 4, 2, dtype=torch.uint8)  # the average and two members
    pred[0, :2, :, 0] = 1
    pred[1] = pred[2] = pred[0]
    pred[2, 0, :, 0] = 2  # the second member calls half of the lung lesion
    pred[0, 3, 3, 1] = pred[1, 3, 3, 1] = 1  # a stray, later taken out
    pred[2, 2, 2, 1] = 1  # and one that the average never had
    data = SplitMembersd("pred")({"pred": pred})
    assert data["pred"].shape == (1, 4, 4, 2)
    data["pred"] = data["pred"].clone()
    data["pred"][0, 3, 3, 1] = 0
    data = CountMembersd("pred")(data)
    assert "members" not in data
    assert data["member_counts"].tolist() == [[[0, 0], [8, 0]], [[4, 0], [8, 1]]]
    assert data["member_counts"].dtype == np.int64
