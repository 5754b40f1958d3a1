"""Chunks of rows and mirroring, which several generators share."""

import pytest
import torch

from cfbench_nets.chunks import in_chunks
from cfbench_nets.mirror import mirrored


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_chunks_give_what_all_rows_at_once_give(rows):
    x, y = torch.rand(7, 2, 3), torch.rand(7, 2, 3)
    sizes = []

    def step(a, b):
        sizes.append(len(a))
        assert torch.is_inference_mode_enabled()
        return (a * 2 + b).double()

    found = in_chunks(step, x, y, rows=rows)
    torch.testing.assert_close(found, x * 2 + y)
    assert found.dtype == torch.float32
    assert sum(sizes) == 7
    assert max(sizes) == min(rows, 7)


@pytest.mark.parametrize("shape", [(64, 1, 4, 5), (64, 2, 3, 4, 5)])
def test_half_of_the_images_are_mirrored_along_their_last_axis(shape):
    x = torch.rand(shape)
    found = mirrored(x, torch.Generator().manual_seed(0))
    turned = [bool(torch.equal(a, b.flip(-1))) for a, b in zip(found, x, strict=True)]
    same = [bool(torch.equal(a, b)) for a, b in zip(found, x, strict=True)]
    assert [a ^ b for a, b in zip(turned, same, strict=True)] == [True] * 64
    assert 16 < sum(turned) < 48
    torch.testing.assert_close(mirrored(x, torch.Generator().manual_seed(0)), found)
