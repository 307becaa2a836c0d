r"""
A metric written as a formula finds digits of any exposure
==========================================================

Which metric suits the data? A grid search over names, a formula and a function.

Images of handwritten digits were taken with any exposure, and half of them are negatives: x = c s + b with a random
contrast c, also below 0, and a random level b. `KNeighborsClassifier` of `clreduce.sklearn` is searched over four
metrics and over K by scikit-learn's `GridSearchCV`::

    'euclidean', 'correlation'                   by name; the latter ignores exposure, but finds negatives far;
    1 - <x, y>^2 / (|x|^2 |y|^2)                 a formula, for which the sign of c doesn't matter, but the level does;
    1 - r(x, y)^2, r being the correlation       a function on LazyTensors, for which none of it matters.

Scikit-learn's own estimator gets the same folds, for the metrics that it knows by name.

Run it::

    python examples/sklearn/choice_of_metric.py --output FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import support
from sklearn import neighbors
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from support import Array

import clreduce
from clreduce.sklearn import KNeighborsClassifier, NearestNeighbors

NEIGHBOURS = [1, 3, 7]
OTHER_SCORE = 5e-3  # the part of the images for which rounding, or the order of equal votes, may decide
SHOWN, NEAREST = 5, 4


def uncorrelated(x: Any, y: Any) -> Any:
    """1 - r^2 for all pairs of images."""
    x, y = x - x.mean(-1), y - y.mean(-1)
    return 1 - (x | y) ** 2 / (x.sqnorm2() * y.sqnorm2())


METRICS: dict[str, Any] = {
    "Euclidean, by name": "euclidean",
    "correlation, by name": "correlation",
    "angle without sign, by a formula": "1 - Square(x | y) / (SqNorm2(x) * SqNorm2(y))",
    "1 - r², by a function": uncorrelated,
}


def exposed(rng: np.random.Generator, images: Array) -> Array:
    contrast = rng.uniform(0.3, 3, (len(images), 1)) * rng.choice([-1, 1], (len(images), 1))
    level = rng.normal(0, 10, (len(images), 1))
    return contrast * (images - 8) + level + rng.normal(0, 0.5, images.shape)


def searched(estimator: Any, metrics: list[Any], X: Array, y: Array) -> Any:
    return GridSearchCV(estimator, {"metric": metrics, "n_neighbors": NEIGHBOURS}, cv=3).fit(X, y)


def draw(path: Path, title: str, X: Array, scores: Array) -> None:
    """Some images, and below each those that are nearest to it by each metric."""
    with support.figure(path, title, 1, len(METRICS), (15, 4.7)) as (axes,):
        for axis, (name, metric), row in zip(axes, METRICS.items(), scores, strict=True):
            near = NearestNeighbors(n_neighbors=NEAREST, metric=metric).fit(X).kneighbors(return_distance=False)
            sheet = np.full((9 * (NEAREST + 1) + 2, 9 * SHOWN - 1), np.nan)
            for place in range(SHOWN):
                for line, index in enumerate((place, *near[place])):
                    image = X[index].reshape(8, 8)
                    image = (image - image.min()) / np.ptp(image)
                    top = 9 * line + 2 * (line > 0)
                    sheet[top : top + 8, 9 * place : 9 * place + 8] = image
            axis.imshow(sheet, cmap="gray")
            axis.set(xticks=(), yticks=(), title=f"{name}\nK = {NEIGHBOURS[int(row.argmax())]}: {row.max():.1%} right")
            axis.spines[:].set_visible(False)
        axes[0].set_ylabel("its four nearest, below an image")


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(0)
    images, y = load_digits(return_X_y=True)
    count = min(len(images), support.scaled(1797))
    X, y = exposed(rng, images[:count]).astype(support.precisions()[-1]), y[:count]

    search, seconds = support.timed(searched, KNeighborsClassifier(), list(METRICS.values()), X, y, calls=2)
    named = ["euclidean", "correlation"]
    theirs, their_seconds = support.timed(searched, neighbors.KNeighborsClassifier(), named, X, y, calls=1)
    scores = search.cv_results_["mean_test_score"].reshape(len(METRICS), -1)
    their_scores = theirs.cv_results_["mean_test_score"].reshape(len(named), -1)
    print(f"{len(METRICS)} metrics in {support.milliseconds(seconds)}, of scikit-learn {len(named)} in ", end="")
    print(support.milliseconds(their_seconds))
    table = support.Table(("metric", *(f"K = {number}" for number in NEIGHBOURS)))
    for name, row in zip(METRICS, scores, strict=True):
        table.add(name, *(f"{score:.1%}" for score in row))
    print(table)

    limits = support.Limits()
    limits.expect("scores that differ from scikit-learn's", np.abs(scores[:2] - their_scores).max(), OTHER_SCORE)
    limits.expect("wrong classes, 1 - r²", 1 - scores[-1].max(), 0.4 if count < 1000 else 0.06)
    limits.expect("metrics that are better than 1 - r²", (scores.max(axis=1) > scores[-1].max()).sum(), 0)
    title = f"The nearest of {count} digits, each with its own contrast, level and sign"
    draw(folder / "choice_of_metric.png", title, X, scores)
    limits.check()


if __name__ == "__main__":
    main()
