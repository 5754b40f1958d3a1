"""Sides in pixels, and what follows from them: resolutions, styles, channels."""

from dataclasses import dataclass

#: Sides that the learnt constant may have; twice the first is twice the last plus two: no side is skipped.
CONSTANTS = range(4, 8)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """The resolutions of generator and discriminator: a constant's side, doubled again and again."""

    #: Side of the learnt constant, and how often it is doubled.
    constant: int
    doublings: int
    #: Channels at side s: min(channel_max, channel_base / s), and at least 1.
    channel_base: int
    channel_max: int

    @property
    def side(self) -> int:
        """Side of the images."""
        return int(self.constant * 2**self.doublings)

    @property
    def sides(self) -> tuple[int, ...]:
        """Every side, from the constant's to the images'."""
        return tuple(int(self.constant * 2**level) for level in range(self.doublings + 1))

    @property
    def num_ws(self) -> int:
        """Styles of one image: two for the first side (convolution, image), two more for each further side."""
        return 2 * self.doublings + 2

    @property
    def noise_shapes(self) -> dict[str, tuple[int, int]]:
        """Name and (height, width) of every noise map, in the order of the layers."""
        sides = (self.sides[0], *(side for side in self.sides[1:] for _ in range(2)))
        return {f"noise_{number}": (side, side) for number, side in enumerate(sides)}

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at every side."""
        return tuple(max(1, min(self.channel_max, self.channel_base // side)) for side in self.sides)


def pyramid(side: int, constant: int, channel_base: int, channel_max: int) -> Pyramid:
    """Return the smallest pyramid whose images cover `side`; constant 0: the one of 4 to 7 that pads least."""
    candidates = [_covering(side, c, channel_base, channel_max) for c in ([constant] if constant else CONSTANTS)]
    return min(candidates, key=lambda found: found.side)


def _covering(side: int, constant: int, channel_base: int, channel_max: int) -> Pyramid:
    doublings = 0
    while constant * 2**doublings < side:
        doublings += 1
    return Pyramid(constant=constant, doublings=doublings, channel_base=channel_base, channel_max=channel_max)
