"""Labels of CheXpert's kind: 1 present, 0 absent, -1 uncertain, blank not mentioned. Torch- and numpy-free."""

import math
from typing import Literal

from cfbench_files.table import Row

Uncertain = Literal["missing", "positive", "negative"]
Blank = Literal["missing", "negative"]
#: Columns of CheXpert's labeller, in both sets.
FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
NORMAL = "Normal chest scan"


def label_of(column: str) -> str:
    """Return the name of a label: `lung_opacity` for `Lung Opacity`."""
    return column.lower().replace(" ", "_")


def value_of(row: Row, column: str, uncertain: Uncertain, blank: Blank, against: str) -> float:
    """Return 1, 0 or NaN for a finding.

    Args:
        row: of the table of labels.
        column: the finding.
        uncertain: what -1 becomes.
        blank: what an empty cell becomes, unless `against` decides.
        against: the column whose 1 makes negatives (`No Finding`), and then nothing else does; "" = the finding's own
            column does.

    Raises:
        DataError: a cell holds another value.
    """
    value = row.number(column, (1.0, 0.0, -1.0))
    if value == -1:
        value = {"missing": math.nan, "positive": 1.0, "negative": 0.0}[uncertain]
    elif math.isnan(value) and blank == "negative":
        value = 0.0
    if against and column != against:
        return 1.0 if value == 1 else 0.0 if row.number(against, (1.0, 0.0, -1.0)) == 1 else math.nan
    return value


def prompts_of(columns: tuple[str, ...]) -> dict[str, dict[float, str]]:
    """Return the prompts of each finding's label."""
    return {
        label_of(c): {0.0: "Abnormal chest scan", 1.0: NORMAL} if c == "No Finding" else {0.0: NORMAL, 1.0: c}
        for c in columns
    }
