"""Tables for a paper: LaTeX with booktabs."""

from collections.abc import Iterable, Mapping, Sequence

from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.table import Row, Table
from cfbench.leaderboard.text import number, plain

_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}
_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after a `\\` it would begin an optional argument
    "]": "{]}",
    "–": "--",
    "…": r"\dots{}",
    "·": r"\textperiodcentered{}",
    "\N{MINUS SIGN}": r"\ensuremath{-}",
}


def tex(text: object) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_ESCAPES.get(c, c) for c in plain(text))


def to_latex(found: Iterable[Table]) -> str:
    r"""Return one `table` per table: the best tier in bold, intervals small, reasons below as notes.

    The document needs `\usepackage{booktabs}`; wide tables want `\resizebox` or `sidewaystable` around them.
    """
    head = "% Made by cfbench. Needs \\usepackage{booktabs}; with pdflatex also \\usepackage[T1]{fontenc}.\n"
    return head + "\n".join(_table(table) for table in found)


def _table(table: Table) -> str:
    several = len({column.view for column in table.columns}) > 1
    heads = [
        tex(c.metric) + _ARROWS.get(c.direction, "") + (f" ({tex(c.view)})" if several else "") for c in table.columns
    ]
    reasons: dict[str, int] = {}
    body = [_row(row, table, reasons) for row in table.rows]
    notes = [f"\\textsuperscript{{{n}}} {tex(reason)}." for reason, n in reasons.items()]
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{tex(table.dataset)}: {tex(table.title)}. 95\\,\\% intervals; bold: first rank tier.}}",
        f"\\begin{{tabular}}{{l{'r' * len(heads)}}}",
        r"\toprule",
        " & ".join(["method", *heads]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\medskip\footnotesize\raggedright", *notes] if notes else []),
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _row(row: Row, table: Table, reasons: dict[str, int]) -> str:
    pairs: Sequence[tuple[Cell, int]] = [(c, column.places) for c, column in zip(row.cells, table.columns, strict=True)]
    return " & ".join([tex(row.label), *(_cell(cell, places, reasons) for cell, places in pairs)]) + r" \\"


def _cell(cell: Cell, places: int, reasons: dict[str, int]) -> str:
    told = [cell.reason] if cell.reason and cell.status != "absent" else []
    told += [f"published: {cell.published}"] if cell.published else [f"not ranked: {why}" for why in cell.unranked]
    told += [f"{one.verdict}, a control" for one in cell.unbeaten[:1]]
    marks = "".join(f"\\textsuperscript{{{reasons.setdefault(why, len(reasons) + 1)}}}" for why in told)
    if cell.value is None:
        return ("--" if cell.status == "absent" else f"\\emph{{{tex(MARKS[cell.status])}}}") + marks
    value = tex(number(cell.value, places))
    value = f"\\textbf{{{value}}}" if cell.tier == 1 else f"\\textit{{{value}}}" if cell.published else value
    if cell.extent is None:
        return value + marks
    low, high = (tex(number(end, places)) for end in cell.extent)
    joint = ", " if cell.low is not None else r"\dots"
    return f"{value}{marks} {{\\scriptsize {{[}}{low}{joint}{high}{{]}}}}"
