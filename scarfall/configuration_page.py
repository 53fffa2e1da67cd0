"""Writes docs/configuration.md's tables from variables.py: python -m scarfall.configuration_page"""

from __future__ import annotations

from scarfall.environment import BASE_DIR
from scarfall.variable import Variable
from scarfall.variables import SECTIONS

PAGE = BASE_DIR / "docs" / "configuration.md"
BEGIN = "<!-- made by python -m scarfall.configuration_page: -->"
END = "<!-- until here -->"


def tables() -> str:
    head = "| variable | default | unit | expected | meaning |\n|---|---|---|---|---|"
    return "\n".join(
        "\n".join((f"\n## {title}\n", head, *map(_row, variables)))
        for title, variables in SECTIONS.items()
    )


def _row(variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default is not None else variable.absent or "none"
    parser = variable.parser
    cells = (f"`{variable.name}`", default, parser.unit, parser.expected, variable.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def renewed(page: str) -> str:
    """The page with its tables as they should be; the text around them stays."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
