"""Views that several metrics read."""

from cfbench.specs import ViewName

#: Pairs of a factual image and one under test.
PAIRS: tuple[ViewName, ...] = ("reconstruction", "reconstruction-random", "counterfactual")
#: Sets that can be compared with real images.
SETS: tuple[ViewName, ...] = (*PAIRS, "sample")
#: Sets of images whose grades nobody asked for: metrics that cannot weight the real side to targets.
UNTARGETED: tuple[ViewName, ...] = ("reconstruction", "reconstruction-random", "sample")
