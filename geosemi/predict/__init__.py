"""The loop around a scene."""
