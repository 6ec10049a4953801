"""What the code's shape promises: floors, the ceiling on file length, and what importing loads."""

import ast
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from fusion_automl.component import component_class
from fusion_automl.store.node import TABLES

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "fusion_automl").rglob("*.py"))
RAY_MAY_STAND_IN = ("search/tune", "batch/run.py", "serve/", "jobs/", "backbones/distributed.py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_over_400_lines_and_none_can_unpickle(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert not _imports(path) & {"pickle", "joblib", "dill", "cloudpickle", "shelve"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_ray_stands_only_where_a_cluster_is_needed(path: Path) -> None:
    name = path.relative_to(ROOT / "fusion_automl").as_posix()
    if not name.startswith(RAY_MAY_STAND_IN):
        assert "ray" not in _imports(path)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fusion_automl", {"ray", "torch", "sklearn", "pandas", "optuna"}),
        ("fusion_automl.fitting", {"ray", "torch", "optuna", "lightgbm"}),
        ("fusion_automl.artifact", {"ray", "torch", "optuna"}),
        ("fusion_automl.search.tune", {"ray"}),
        ("fusion_automl.cli.app", {"ray", "torch", "sklearn", "pandas"}),
    ],
)
def test_importing_loads_nothing_heavy(module: str, absent: set[str]) -> None:
    script = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not absent & set(loaded)


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, lines in TABLES.items() for name in lines])
def test_a_component_says_which_class_loads_what_it_fits(table: str, name: str) -> None:
    component = component_class(TABLES[table], name, where=table)
    fitted = typing.get_type_hints(component.fit)["return"]
    assert callable(fitted.load) and callable(fitted.save)


def test_the_public_names_are_functions_and_classes_even_after_their_modules_were_imported() -> None:
    import fusion_automl
    import fusion_automl.fitting

    assert fusion_automl.fit is fusion_automl.fitting.fit
    assert all(callable(getattr(fusion_automl, name)) for name in fusion_automl.__all__)
