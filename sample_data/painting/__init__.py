"""Paints small scenes of an invented town: ground, roads, houses, plants and cars under one sun."""
