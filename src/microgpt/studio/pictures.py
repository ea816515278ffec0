"""Weights to look at: embeddings in two dimensions, and matrices as images."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.model.ledger import Entry, ledger, tensors
from microgpt.studio.xray import texts
from microgpt.training.checkpoint import Checkpoint

TALLEST: Final = 64  # rows of an image
WIDEST: Final = 64  # columns of an image
DIGITS: Final = 5  # that a shown weight keeps


def embeddings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The tokens' vectors (`wte`) in the plane that shows the most of how they differ (PCA)."""
    points, shares = principal(tensors(checkpoint.model, checkpoint.state.weights)["wte"])
    every = range(checkpoint.model.vocabulary)
    return {"points": points, "shares": shares, "texts": texts(checkpoint.tokenizer, every)}


def principal(vectors: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors (V, emb) as points (V, 2) along the two directions of largest variance, and the share of each, (2,).

    By singular values of the centred matrix (Pearson 1901). The sign of a direction is free; here its entry that is
    largest in size is positive, so that the picture does not flip from one step to the next for no reason.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    plane = directions[:2]  # (2 or fewer, emb)
    largest = np.abs(plane).argmax(axis=1)
    plane = plane * np.where(plane[np.arange(len(plane)), largest] < 0.0, -1.0, 1.0)[:, None]
    points, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    points[:, : len(plane)] = centred @ plane.T
    shares[: len(plane)] = (sizes**2)[:2] / max(float((sizes**2).sum()), np.finfo(float).tiny)
    return points, shares


def groups(checkpoint: Checkpoint) -> list[str]:
    """The parts of the model whose matrices are shown together."""
    return ["embeddings", *(f"layer{i}" for i in range(checkpoint.model.layer))]


def images(checkpoint: Checkpoint, group: str) -> list[dict[str, Any]]:
    """The matrices of a group as images."""
    named = tensors(checkpoint.model, checkpoint.state.weights)
    return [image(entry, named[entry.name]) for entry in ledger(checkpoint.model) if _group(entry.name) == group]


def image(entry: Entry, matrix: NDArray[Any]) -> dict[str, Any]:
    """A matrix as an image of at most TALLEST x WIDEST cells. In a larger one each cell is a mean, of `block` numbers;
    `extreme`, at both ends of the scale of colours, is the cell that is largest in size."""
    rows, columns = -(-entry.rows // TALLEST), -(-entry.columns // WIDEST)
    cells = pooled(matrix.astype(np.float64), rows, columns)
    return {
        "name": entry.name,
        "rows": entry.rows,
        "columns": entry.columns,
        "block": [rows, columns],
        "cells": [[float(f"{cell:.{DIGITS}g}") for cell in row] for row in cells.tolist()],
        "extreme": float(np.abs(cells).max()),
        "rms": float(np.sqrt(np.mean(matrix.astype(np.float64) ** 2))),
    }


def pooled(matrix: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Means over blocks of rows x columns; the last blocks may be smaller."""
    starts = np.arange(0, matrix.shape[0], rows), np.arange(0, matrix.shape[1], columns)
    sums = np.add.reduceat(np.add.reduceat(matrix, starts[0], axis=0), starts[1], axis=1)
    heights = np.diff([*starts[0], matrix.shape[0]])
    widths = np.diff([*starts[1], matrix.shape[1]])
    means: NDArray[np.float64] = sums / (heights[:, None] * widths)
    return means


def _group(name: str) -> str:
    return name.split(".")[0] if "." in name else "embeddings"
