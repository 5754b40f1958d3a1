"""From signed distance to grade and back: lines fitted in closed form (Atad et al. 2024, section 3.2)."""

from dataclasses import dataclass

from cfbench.errors import UndefinedError
from cfbench.types import Values


@dataclass(frozen=True)
class Line:
    """The calibration g(d) = offset + slope·d, continuous and unclipped; slope is never 0."""

    slope: float
    offset: float

    def grade(self, d: Values) -> Values:
        """Return the grade of a distance."""
        return self.offset + self.slope * d

    def distance(self, grade: Values) -> Values:
        """Return the distance d* at which a grade is reached."""
        return (grade - self.offset) / self.slope


def two_means(d: Values, grade: Values) -> Line:
    """Fit through (mean distance, grade) of the lowest and of the highest grade: the paper's rule.

    Raises UndefinedError if there is one grade only, or both means coincide.
    """
    low, high = float(grade.min()), float(grade.max())
    d_low, d_high = float(d[grade == low].mean()), float(d[grade == high].mean())
    if low == high or d_low == d_high:
        raise UndefinedError(_flat(f"the mean distances of grades {low:g} and {high:g}"))
    slope = (high - low) / (d_high - d_low)
    return Line(slope, low - slope * d_low)


def least_squares(d: Values, grade: Values) -> Line:
    """Fit by ordinary least squares of grade on distance, every case counting once.

    Raises UndefinedError if the distances, or the grades, are all the same.
    """
    d_0, g_0 = d - d.mean(), grade - grade.mean()
    covariance, variance = float(d_0 @ g_0), float(d_0 @ d_0)
    if variance == 0 or covariance == 0:
        raise UndefinedError(_flat("the distances or the grades of the training cases"))
    slope = covariance / variance
    return Line(slope, float(grade.mean()) - slope * float(d.mean()))


def _flat(what: str) -> str:
    return (
        f"the calibration needs distances that change with the grade; {what} do not: no grade can be read or asked for"
    )
