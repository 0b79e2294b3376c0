"""The sample repository, written from the files in shop/: two programs, a migration, a price list, and what Trimtab is to make of them.

.trimtab/environments.yaml   staging and production
.trimtab/shop.yaml           the application: staging first, then production
.trimtab/rules.yaml          who may propose, who may approve, and a policy
staging/, production/        what runs there: Process web, Process api, File prices, Task migrate
programs/                    what web, api and migrate are
prices.json
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

FILES = Path(__file__).parent / "shop"
ENVIRONMENTS = {"staging": 1, "production": 2}
"""How many instances of web each has."""
OBJECTS = ("api", "migrate", "prices", "web")
PROGRAM = "programs/web/web.py"
PRICES = "prices.json"


def write(repository: Path, directory: Path) -> None:
    """``directory`` gets one directory for each Environment, in which that writes its files."""
    for file in (FILES / "trimtab").iterdir():
        _fill(file, repository / ".trimtab" / file.name, directory=str(directory))
    for environment, replicas in ENVIRONMENTS.items():
        place = directory / environment
        place.mkdir()
        for name in OBJECTS:
            file = FILES / "objects" / f"{name}.yaml"
            _fill(file, repository / environment / file.name, place=str(place), python=sys.executable, replicas=replicas)
    shutil.copytree(FILES / "programs", repository / "programs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(FILES / PRICES, repository / PRICES)


def release(repository: Path, number: int, *, needs: str = "") -> None:
    """Change the program of web to the next release; ``needs`` is a path that it then asks the api for."""
    program = repository / PROGRAM
    text = program.read_text(encoding="utf-8")
    text = text.replace(f"RELEASE = {number - 1}", f"RELEASE = {number}")
    if needs:
        text = text.replace('NEEDS = ["/prices"]', f'NEEDS = ["/prices", "{needs}"]')
    program.write_text(text, encoding="utf-8")


def replicas(repository: Path, number: int) -> None:
    """How many instances of web production has from now on."""
    file = repository / "production" / "web.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"replicas: \d+", f"replicas: {number}", text), encoding="utf-8")


def _fill(template: Path, file: Path, **values: object) -> None:
    """Put the values in, each inside a double-quoted string of YAML, which JSON's are too."""
    text = template.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", json.dumps(value)[1:-1] if isinstance(value, str) else str(value))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
