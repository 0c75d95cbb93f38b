"""WHAT maps pixels to logits, and how it is shipped."""
