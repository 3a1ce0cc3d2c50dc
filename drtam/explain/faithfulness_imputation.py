"""Removed pixels, filled in from those that are left: noisy linear imputation.

Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods* (ROAD),
ICML 2022. A flat colour in place of removed pixels draws their outline, and a network reads
outlines; imputed pixels hide which ones were removed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor

WEIGHTS = (((0, 1), 1 / 6), ((1, 0), 1 / 6), ((1, 1), 1 / 12), ((1, -1), 1 / 12))  # the paper's


def impute(image: Tensor, removed: Tensor) -> Tensor:
    """Every removed pixel as the weighted mean of its up to eight neighbours, removed or not.

    One sparse linear system holds for all of them at once. The noise that the method adds is
    left to the caller.

    Args:
        image: (C, H, W).
        removed: (H, W), bool, not all of them True.

    Returns:
        (C, H, W), equal to ``image`` where nothing is removed.

    Raises:
        ValueError: nothing is left to fill in from.
    """
    gone = removed.flatten().cpu().numpy()
    if gone.all():
        raise ValueError("removed must leave at least one pixel to fill in from")
    if not gone.any():
        return image
    equations = neighbour_equations(*removed.shape)[gone]
    values = image.flatten(1).T.cpu().double().numpy().copy()  # (HW, C)
    # Symmetric and diagonally dominant: no pivoting, and an ordering that keeps it sparse.
    solver = splu(
        equations[:, gone].tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    values[gone] = solver.solve(-(equations[:, ~gone] @ values[~gone]))
    return torch.from_numpy(values.T).to(image).view_as(image)


@lru_cache(maxsize=8)
def neighbour_equations(height: int, width: int) -> csr_array:
    """(HW, HW): each pixel's summed weights times its value, less its weighted neighbours."""
    index = np.arange(height * width).reshape(height, width)
    rows, columns, weights = [], [], []
    for (down, right), weight in WEIGHTS:
        first = index[: height - down, max(0, -right) : width - max(0, right)].ravel()
        second = index[down:, max(0, right) : width + min(0, right)].ravel()
        rows += [first, second]
        columns += [second, first]
        weights.append(np.full(2 * len(first), weight))
    where = (np.concatenate(rows), np.concatenate(columns))
    near = coo_array((np.concatenate(weights), where), shape=(index.size, index.size)).tocsr()
    return csr_array(diags_array(near.sum(axis=1)) - near)
