"""Volumes in galleries: three slices through one point."""

import torch

from cfbench.steps.slices import GAP, flat, middle


def test_an_image_stays_as_it_is():
    x = torch.rand(3, 5, 4)
    assert flat(x, (2, 2)) is x


def test_a_volume_is_its_slices_side_by_side_with_its_first_axis_upwards():
    x = torch.rand(1, 4, 6, 5)
    sheet = flat(x, (1, 2, 3))
    assert sheet.shape == (1, 6, 5 + 5 + 6 + 2 * GAP)
    assert torch.equal(sheet[0, :, :5], x[0, 1])
    assert torch.equal(sheet[0, 1:5, 5 + GAP : 10 + GAP], x[0, :, 2].flip(0))
    assert torch.equal(sheet[0, 1:5, 10 + 2 * GAP :], x[0, :, :, 3].flip(0))
    # What lies above and below the lower slices, and between them, is black.
    assert sheet[0, :, 5 : 5 + GAP].abs().sum() == sheet[0, 0, 5:].abs().sum() == 0


def test_it_is_cut_where_the_masks_are_and_else_in_the_middle():
    one, other = (torch.zeros(1, 8, 10, 12, dtype=torch.bool) for _ in range(2))
    assert middle([], (8, 10, 12)) == middle([one, other], (8, 10, 12)) == (4, 5, 6)
    one[0, 1, 2:5, 3] = True
    assert middle([one, other], (8, 10, 12)) == (1, 3, 3)
    other[0, 3, 2:5, 3] = True
    assert middle([one, other], (8, 10, 12)) == (2, 3, 3)
