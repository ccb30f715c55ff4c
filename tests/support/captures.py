"""Where recordings of real engines are: a small copy always, the whole set where it is at hand."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "captures"
WHOLE = Path(os.environ.get("PERFAGENT_CAPTURES", ROOT.parent / "shared" / "captures"))


def recordings() -> list[Path]:
    """Every recording at hand, the committed ones first. A folder without pages and times is none."""
    found = [folder.parent for base in (FIXTURES, WHOLE) for folder in sorted(base.glob("*/*/meta.json"))]
    return [folder for folder in found if (folder / "000.prom").exists()]


def name_of(folder: Path) -> str:
    """A short name for test ids."""
    return f"{'fixture' if FIXTURES in folder.parents else 'whole'}/{folder.parent.name}/{folder.name}"
