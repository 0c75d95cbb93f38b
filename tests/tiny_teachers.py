"""Frozen teachers small enough for tests, through the code that builds the large ones."""

TINY = {"teachers": ["dinov2_tiny", "clip_tiny"], "hidden": 32}


def told(name: str) -> dict[str, object]:
    """What a method is told in tests, where its own defaults need weights that nobody downloads for a test."""
    return {"name": name, "distill": TINY} if name == "rs_mtdf" else {"name": name}
