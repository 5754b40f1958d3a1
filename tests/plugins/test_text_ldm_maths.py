"""The latent diffusion's arithmetic: schedule, steps, samplers against closed forms and diffusers, guidance, losses."""

import dataclasses
import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, PNDMScheduler
from hypothesis import given
from hypothesis import strategies as st

from cfbench.errors import DataError
from cfbench_nets.betas import alpha_bar as plain_alpha_bar
from cfbench_text_ldm.dreambooth import preserving
from cfbench_text_ldm.fit_autoencoder import bound
from cfbench_text_ldm.fit_denoiser import emptied, errors
from cfbench_text_ldm.frame import frame_of
from cfbench_text_ldm.parts import Denoiser, Parts
from cfbench_text_ldm.sampling import ascend, descend, guided
from cfbench_text_ldm.schedule import alpha_bar, kept, leading
from cfbench_text_ldm.words import Words

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
LEVELS = alpha_bar("scaled_linear", 1000)
MEAN, SPREAD = 0.7, 0.4


class Halver(Denoiser):
    """Predicts half of what it sees, and keeps what it was given."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def read(self, tokens):
        return tokens[..., None].float()

    def forward(self, z_t, t, words):
        self.given = z_t, t, words
        return z_t / 2


def parts_of(objective):
    return Parts(None, Halver(), Words(None, 3), LEVELS, objective)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(x, t):
    """The epsilon of x_t where x_0 ~ N(MEAN, SPREAD^2): its mean given x_t."""
    a = LEVELS[t]
    return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * SPREAD**2 + 1 - a)


def scale(a):
    return (a * SPREAD**2 + 1 - a).sqrt()


def on_the_way(x, a, b):
    """The probability flow's closed form: what x at alpha-bar a becomes at alpha-bar b, with infinitely many steps."""
    return b.sqrt() * MEAN + scale(b) * (x - a.sqrt() * MEAN) / scale(a)


def test_the_schedule_is_that_of_stable_diffusion():
    theirs = DDIMScheduler(**SD).alphas_cumprod
    assert torch.allclose(LEVELS.float(), theirs, atol=1e-6)
    assert torch.equal(alpha_bar("cosine", 100), plain_alpha_bar("cosine", 100))


@pytest.mark.parametrize(
    ("strength", "first", "calls"), [(0.55, 534, 42), (0.85, 820, 64), (0.4, 391, 31), (0.99, 950, 75)]
)
def test_pndm_makes_the_steps_of_diffusers_img2img_once_each(strength, first, calls):
    theirs = PNDMScheduler(skip_prk_steps=True, **SD)
    theirs.set_timesteps(75)
    cut = theirs.timesteps.tolist()[75 - int(75 * strength) :]  # as diffusers' img2img cuts its list
    assert (cut[0], len(cut)) == (first, calls)
    ours = kept(1000, 75, strength, "pndm")
    assert ours[0] == first
    assert ours == list(dict.fromkeys(cut))
    assert len(ours) == calls - (strength == 0.99)  # only there did the step that is listed twice survive the cut


@pytest.mark.parametrize("steps", [10, 50, 75])
@pytest.mark.parametrize("strength", [0.3, 0.55, 0.999])
def test_ddim_makes_the_steps_of_diffusers(steps, strength):
    theirs = DDIMScheduler(**SD)
    theirs.set_timesteps(steps)
    assert leading(1000, steps) == theirs.timesteps.tolist()
    assert kept(1000, steps, strength, "ddim") == theirs.timesteps.tolist()[steps - int(steps * strength) :]


@given(steps=st.integers(1, 200), strength=st.floats(0, 1), sampler=st.sampled_from(["ddim", "pndm"]))
def test_steps_fall_one_by_one_and_grow_with_strength(steps, strength, sampler):
    times = kept(1000, steps, strength, sampler)
    assert times == sorted(set(times), reverse=True)
    assert set(times) <= set(leading(1000, steps))
    assert int(steps * strength) <= len(times) <= int(steps * strength) + (sampler == "pndm")


def test_ends_and_impossible_requests():
    for sampler in ("ddim", "pndm"):
        assert kept(1000, 75, 0.0, sampler) == []
        assert kept(1000, 75, 1.0, sampler) == leading(1000, 75)
    for steps, strength in ((0, 0.5), (1000, 0.5), (50, -0.1), (50, 1.1), (50, math.nan)):
        with pytest.raises(DataError, match="must"):
            kept(1000, steps, strength, "ddim")


@pytest.mark.parametrize("strength", [0.4, 0.55, 1.0])
def test_ddim_on_gaussian_data_is_the_product_of_its_linear_steps(strength):
    times = kept(1000, 75, strength, "ddim")
    x = numbers(6, 1, 2, 2)
    slope, offset = 1.0, 0.0
    for t, low in zip(times, [*times[1:], 0], strict=True):
        a, b = LEVELS[t].item(), LEVELS[low].item()
        gain = math.sqrt(1 - a) / (a * SPREAD**2 + 1 - a)  # epsilon = gain * (x - sqrt(a) MEAN)
        turn = math.sqrt(1 - b) - math.sqrt(b * (1 - a) / a)
        step, shift = math.sqrt(b / a) + turn * gain, -turn * gain * math.sqrt(a) * MEAN
        slope, offset = step * slope, step * offset + shift
    assert torch.allclose(descend(x, times, exact, LEVELS, "ddim"), slope * x + offset, atol=1e-12, rtol=0)


@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
def test_more_steps_come_nearer_to_the_closed_form(sampler):
    x, found = numbers(50, 1, 1, 1), []
    for steps in (25, 100, 400):
        times = kept(1000, steps, 0.6, sampler)
        start = on_the_way(x, LEVELS[0], LEVELS[times[0]])
        found.append((descend(start, times, exact, LEVELS, sampler) - x).abs().max().item())
    assert found[2] < found[1] < found[0]
    assert found[2] < {"ddim": 0.03, "pndm": 1e-3}[sampler]  # DDIM is of first order


def test_plms_is_nearer_than_ddim():
    times, x = kept(1000, 30, 0.6, "ddim"), numbers(50, 1, 1, 1)
    start = on_the_way(x, LEVELS[0], LEVELS[times[0]])
    off = {s: (descend(start, times, exact, LEVELS, s) - x).abs().max().item() for s in ("ddim", "pndm")}
    assert off["pndm"] < off["ddim"] / 5


def test_inversion_goes_up_the_closed_form_and_back():
    x, found = numbers(50, 1, 1, 1), []
    for steps in (25, 100, 400):
        times = kept(1000, steps, 0.8, "ddim")
        up = ascend(x, times, exact, LEVELS)
        back = descend(up, times, exact, LEVELS, "ddim")
        high = on_the_way(x, LEVELS[0], LEVELS[times[0]])
        found.append(((up - high).abs().max().item(), (back - x).abs().max().item()))
    for away in zip(*found, strict=True):
        assert away[2] < away[1] < away[0]
        assert away[2] < 0.06
        assert away[2] < away[1] / 3


def test_ddim_and_inversion_are_those_of_diffusers():
    theirs, x = DDIMScheduler(set_alpha_to_one=False, clip_sample=False, **SD), numbers(4, 2, 3, 3)
    theirs.set_timesteps(20)
    z = x.float()
    for t in theirs.timesteps.tolist():
        z = theirs.step(exact(z.double(), t).float(), t, z).prev_sample
    assert torch.allclose(descend(x, leading(1000, 20), exact, LEVELS, "ddim").float(), z, atol=2e-5)
    upwards = DDIMInverseScheduler(set_alpha_to_one=False, clip_sample=False, **SD)
    upwards.set_timesteps(20)
    # Theirs starts below step 0; ours at it. From the same place on, each step is the same.
    a, b = 51, 101
    upwards.timesteps = torch.tensor([a])
    theirs_up = upwards.step(exact(x, a).float(), b, x.float()).prev_sample
    level, high = LEVELS[a], LEVELS[b]
    ours_up = high.sqrt() * (x - (1 - level).sqrt() * exact(x, a)) / level.sqrt() + (1 - high).sqrt() * exact(x, a)
    assert torch.allclose(ours_up.float(), theirs_up, atol=2e-5)


def test_plms_is_that_of_diffusers_but_for_the_second_step():
    """Fed the same noises in the same order, the fourth-order steps agree."""
    theirs = PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **SD)
    theirs.set_timesteps(20)
    times, noises = leading(1000, 20), [numbers(1, 1, 2, 2, seed=i) for i in range(20)]
    by_time = dict(zip(times, noises, strict=True))
    seen = []

    def recorded(x, t):
        seen.append(x)
        return by_time[t]

    descend(numbers(1, 1, 2, 2), times, recorded, LEVELS, "pndm")
    # Step 10 with its three predecessors in store, from our own x: one step of theirs must land on our next x.
    theirs.ets, theirs.counter = [by_time[t] for t in times[7:10]], 10
    landed = theirs.step(by_time[times[10]], times[10], seen[10]).prev_sample
    assert torch.allclose(landed, seen[11], atol=1e-5)


@given(guidance=st.floats(-2, 12), t=st.integers(0, 999))
def test_guidance_is_the_same_of_epsilon_and_of_v(guidance, t):
    parts = parts_of("v")
    x, free, told = numbers(2, 1, 2, 2), numbers(2, 1, 2, 2, seed=1), numbers(2, 1, 2, 2, seed=2)
    of_v = parts.noise_in(x, guided(free, told, guidance), t)
    of_epsilon = guided(parts.noise_in(x, free, t), parts.noise_in(x, told, t), guidance)
    assert torch.allclose(of_v, of_epsilon, atol=1e-7)


def test_guidance_algebra():
    free, told = numbers(3, 1, 2, 2), numbers(3, 1, 2, 2, seed=1)
    assert torch.equal(guided(free, told, 0.0), free)
    assert torch.allclose(guided(free, told, 1.0), told)
    assert torch.allclose(guided(free, told, 4.0), 4 * told - 3 * free)  # s = 1 + w with w = 3


def test_v_and_epsilon_name_the_same_noise():
    x_0, noise, t = numbers(2, 1, 2, 2), numbers(2, 1, 2, 2, seed=1), 300
    a = LEVELS[t]
    v = a.sqrt() * noise - (1 - a).sqrt() * x_0
    x_t = a.sqrt() * x_0 + (1 - a).sqrt() * noise
    assert torch.allclose(parts_of("v").noise_in(x_t, v, t), noise)
    assert parts_of("epsilon").noise_in(x_t, v, t) is v


@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_dreambooth_loss_by_hand(objective):
    parts = parts_of(objective)
    z, tokens = numbers(4, 2, 3, 3).float(), torch.tensor([[1], [1], [2], [2]])
    found = preserving(errors(parts, z, tokens, torch.Generator().manual_seed(5)), 2, 0.3)
    z_t, t, words = parts.denoiser.given
    assert torch.equal(words[:, 0, 0], torch.tensor([1.0, 1.0, 2.0, 2.0]))  # both halves in one forward pass
    total = {"taught": 0.0, "prior": 0.0}
    for i in range(4):
        a = LEVELS[t[i]].float()
        noise = (z_t[i] - a.sqrt() * z[i]) / (1 - a).sqrt()
        wanted = noise if objective == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * z[i]
        total["taught" if i < 2 else "prior"] += ((z_t[i] / 2 - wanted) ** 2).mean().item() / 2
    assert found.item() == pytest.approx(total["taught"] + 0.3 * total["prior"], rel=1e-3)


def test_without_prior_images_the_loss_is_the_plain_one():
    assert preserving(torch.tensor([1.0, 3.0]), 2, 1.0) == 2.0
    assert preserving(torch.tensor([1.0, 3.0, 10.0, 20.0]), 2, 1.0) == 17.0


def test_prompts_are_emptied_as_often_as_asked():
    random = torch.Generator().manual_seed(0)
    empty = sum(text == "" for text in emptied(["a"] * 5000, 0.12, random))
    assert 520 < empty < 680  # 600 +- 3.5 standard deviations
    assert emptied(["a", "b"], 0.0, random) == ["a", "b"]


class Posterior:
    def __init__(self, mean, logvar):
        self.mean, self.logvar, self.var, self.std = mean, logvar, logvar.exp(), (logvar / 2).exp()


class Planted:
    """An autoencoder with a known posterior whose images are all 0."""

    def __init__(self):
        self.mean, self.logvar = numbers(2, 1, 2, 2).float(), numbers(2, 1, 2, 2, seed=1).float()

    def encode(self, x):
        return dataclasses.make_dataclass("Out", ["latent_dist"])(Posterior(self.mean, self.logvar))

    def decode(self, z):
        return dataclasses.make_dataclass("Out", ["sample"])(torch.zeros(2, 1, 4, 4))


def test_the_autoencoders_bound_against_torch():
    vae, x = Planted(), numbers(2, 1, 4, 4, seed=3).float()
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(vae.mean, (vae.logvar / 2).exp()), normal(0.0, 1.0)).sum()
    wanted = x.abs().mean() + 0.01 * kl / 32  # both summed over an image in the paper; here over its 16 pixels' count
    assert bound(vae, x, 0.01, torch.Generator().manual_seed(0)).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(("side", "size", "how"), [(40, 0, "as they are"), (28, 0, "padded"), (28, 64, "resized")])
def test_frames_go_in_and_come_back(side, size, how):
    frame = frame_of(1, (side, side), 3, size, 8)
    x = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    inside = frame.inward(x)
    assert frame.how == how
    assert inside.shape == (2, 3, frame.working, frame.working)
    assert frame.working % 8 == 0
    smooth = torch.nn.functional.avg_pool2d(x, 9, 1, 4)
    assert torch.allclose(frame.outward(frame.inward(smooth)), smooth, atol=0.06 if how == "resized" else 1e-6)


def test_a_cell_is_kept_only_if_all_its_pixels_are():
    frame = frame_of(1, (16, 16), 1, 0, 8)
    keep = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    keep[0, 0, 5, 9] = False
    cells = frame.cells(keep, 4)
    assert cells.sum() == 15
    assert not cells[0, 0, 1, 2]
