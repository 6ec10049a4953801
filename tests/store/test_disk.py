from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from fusion_automl.candidate import Spec
from fusion_automl.classical.prior import FittedPrior
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.store.columns import stack_columns
from fusion_automl.store.disk import Made, Store
from fusion_automl.store.node import Node, Part, Ref
from fusion_automl.target import FittedTarget

NODE = Node("classical", Spec.of("prior"), "rows-a")
NEVER = Deadline.never()


def _maker(calls: list[int], rows: np.ndarray | None = None) -> Callable[[], Made]:
    def make() -> Made:
        calls.append(1)
        part = Part(NODE, FittedPrior(np.array([0.25, 0.75])), FittedTarget())
        return Made(part, {"prediction": np.arange(6.0).reshape(3, 2)}, rows, 0.5, 0.1, 0.01)

    return make


def test_a_node_is_fitted_once(tmp_path: Path) -> None:
    calls: list[int] = []
    store = Store(tmp_path)
    assert store.obtain(NODE, _maker(calls), deadline=NEVER) == store.obtain(NODE, _maker(calls), deadline=NEVER)
    assert Store(tmp_path).obtain(NODE, _maker(calls), deadline=NEVER) == NODE.key
    assert (len(calls), store.hits, store.misses) == (1, 1, 1)
    assert store.part(NODE.key).apply([], np.zeros((2, 1)))["prediction"].tolist() == [[0.25, 0.75]] * 2


def test_other_rows_other_inputs_or_another_target_are_another_node() -> None:
    others = [
        Node("classical", Spec.of("prior"), "rows-b"),
        Node("classical", Spec.of("prior"), "rows-a", inputs=(Ref("x", "matrix"),)),
        Node("classical", Spec.of("prior"), "rows-a", target="log"),
    ]
    assert len({node.key for node in [NODE, *others]}) == 4
    assert all(Node.from_json(node.to_json()) == node for node in others)


def test_outputs_for_some_rows_are_read_by_the_datasets_row_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = store.obtain(NODE, _maker([], np.array([2, 5, 9])), deadline=NEVER)
    np.testing.assert_array_equal(store.read(Ref(key, "prediction"), np.array([5, 9])), [[2.0, 3.0], [4.0, 5.0]])
    with pytest.raises(KeyError):
        store.read(Ref(key, "prediction"), np.array([3]))


def test_a_node_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> Made:
        calls.append(1)
        raise FitError("the loss diverged")

    for _ in range(2):
        with pytest.raises(FitError, match="the loss diverged"):
            Store(tmp_path).obtain(NODE, make, deadline=NEVER)
    assert len(calls) == 1


def test_a_node_that_another_process_is_fitting_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    from filelock import FileLock

    store = Store(tmp_path)
    with FileLock(tmp_path / f"{NODE.key}.lock"), pytest.raises(OutOfTime, match="another process"):
        store.obtain(NODE, _maker([]), deadline=Deadline.after(0.2))


def test_half_written_nodes_are_fitted_again(tmp_path: Path) -> None:
    calls: list[int] = []
    Store(tmp_path).obtain(NODE, _maker(calls), deadline=NEVER)
    (tmp_path / NODE.key / "DONE").unlink()
    Store(tmp_path).obtain(NODE, _maker(calls), deadline=NEVER)
    assert len(calls) == 2


def test_columns_of_dense_and_sparse_matrices_are_put_side_by_side() -> None:
    dense, sparse = np.eye(2, dtype=np.float32), scipy.sparse.csr_matrix(np.eye(2, dtype=np.float32))
    assert stack_columns([dense, sparse], 2).toarray().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert stack_columns([dense, dense], 2).shape == (2, 4)
    assert stack_columns([], 3).tolist() == [[0], [0], [0]]
