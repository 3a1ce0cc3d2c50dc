"""The shape of a node's values, as the figure writes it."""

from __future__ import annotations

from viz.algebra.scene import Scene, split_key


def shape_of(key: str, scene: Scene) -> str:
    """For example ``2048×7×7``."""
    channels, height, width = scene.shape
    sizes = {"c": channels, "h": height, "w": width}
    kinds = {kind: f"{sizes[kind[0]]}×{sizes[kind[1]]}" for kind in ("ch", "cw", "hw")}
    which, rest = split_key(key)
    if which is None:
        return _outside(rest, kinds, f"{channels}×{height}×{width}")
    if rest in ("map", "rtam"):
        return f"{channels}×{height}×{width}" if rest == "map" else "Fig. 3"
    axis, _, step = rest.partition(".")
    strips = scene.embedding(which, axis).strips
    if step == "cut":
        counts = {s.descriptor: s.count for s in strips if s.pooling == "Avg"}
        return " + ".join(str(count) for count in counts.values())
    return f"{sizes[axis]}×{len(strips)}" if step == "pooled" else str(sizes[axis])


def _outside(key: str, kinds: dict[str, str], full: str) -> str:
    first, _, kind = key.partition(".")
    if kind:
        return kinds[kind]
    return {"rdem": "", "output": "as X"}.get(first, full)
