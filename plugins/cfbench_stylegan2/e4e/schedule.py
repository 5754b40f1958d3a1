"""Which layers have a delta of their own at which step: none at first, then one more every so often."""

from cfbench_stylegan2.e4e.params import EncoderParams


def active_deltas(params: EncoderParams, step: int, num_ws: int) -> int:
    """Return how many layers after layer 0 have a delta at step 0, 1, ...

    Published: one from step 20,000 on, then one more every 2,000, of 200,000 steps.
    """
    start = round(params.encoder_delta_start * params.encoder_steps)
    every = max(1, round(params.encoder_delta_every * params.encoder_steps))
    return 0 if step < start else min(num_ws - 1, 1 + (step - start) // every)
