"""Mean absolute error of grades."""

from cfbench.errors import UndefinedError
from cfbench.specs import NoParams
from cfbench.types import Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import grades_of


def absolute_error(view: View) -> Values:
    """Return `|predicted grade - grade|` of each line; its mean is the MAE of S0 and S1 (which call it average error).

    Continuous predictions, neither rounded nor clipped, as in the papers' tables. In grades, from 0, lower is better.
    All lines of a known grade count, those of a grade excluded from fits too (a continuous grade must place them);
    an unknown grade gives NaN.

    Trap: a constant prediction of the middle grade does well when middle grades abound; read it with `macro-f1`.
    """
    predicted = view.predicted.grade
    if predicted is None:
        raise UndefinedError("this method gives no grade, so it has no grading metrics")
    return (predicted.double() - grades_of(view).double()).abs()


def mae(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `mae`; see `absolute_error`."""
    return PerLine(absolute_error)
