"""Whitening of codes: covariance, invertibility, and what it does to a probe's reflection."""

import pytest
import torch

from cfbench_nets.seeds import generator
from cfbench_nets.whitening import FLOOR, Whitening


@pytest.fixture
def codes():
    """Strongly correlated codes with a mean, float32."""
    random = generator("codes")
    mix = torch.diag(torch.tensor([3.0, 1.0, 0.05, 0.01])) @ torch.randn(4, 4, generator=random)
    return torch.randn(500, 4, generator=random) @ mix + torch.tensor([5.0, -2.0, 0.0, 1.0])


def test_it_is_the_identity_until_it_has_learned(codes):
    assert torch.equal(Whitening(4)(codes), codes)


def test_white_codes_are_uncorrelated_with_variance_one_and_come_back(codes):
    whitening = Whitening(4)
    whitening.learn(codes)
    white = whitening(codes)
    torch.testing.assert_close(torch.cov(white.T.double(), correction=0), torch.eye(4).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(whitening.undo(white), codes, rtol=1e-4, atol=1e-4)
    again = Whitening(4)
    again.load_state_dict(whitening.state_dict())
    assert torch.equal(again(codes), white)


def test_directions_without_variance_are_not_blown_up():
    z = torch.randn(50, 1, generator=generator("line")) * torch.tensor([[1.0, 2.0, 0.0]])
    whitening = Whitening(3)
    whitening.learn(z)
    white = whitening(z)
    assert white.std(dim=0, correction=0)[0] == pytest.approx(1, abs=1e-4)
    assert white[:, 1:].abs().max() < 1e-3
    torch.testing.assert_close(whitening.undo(white), z, rtol=1e-4, atol=1e-4)
    assert float(whitening.W.abs().max()) <= 1.01 / (FLOOR * 5**0.5 * 0.7)
    whitening.learn(torch.ones(5, 3))
    torch.testing.assert_close(whitening.undo(whitening(z)), z)


def test_reflection_in_white_codes_moves_along_the_difference_of_the_class_means(codes):
    # Fisher's discriminant w = S^-1 (m1 - m0) moves raw codes along w, white codes along S w = m1 - m0.
    grade = (codes[:, 0] - codes[:, 0].mean() + 40 * (codes[:, 3] - codes[:, 3].mean()) > 0).double()
    whitening = Whitening(4)
    whitening.learn(codes)
    white = whitening(codes).double()
    difference = white[grade == 1].mean(dim=0) - white[grade == 0].mean(dim=0)
    within = sum(torch.cov(white[grade == g].T, correction=0) * (grade == g).double().mean() for g in (0, 1))
    w = torch.linalg.solve(within, difference)
    moved = (whitening.undo((white + w).float()) - whitening.undo(white.float()))[0].double()
    means = (codes[grade == 1].mean(dim=0) - codes[grade == 0].mean(dim=0)).double()
    assert torch.cosine_similarity(moved, means, dim=0) == pytest.approx(1, abs=1e-3)
