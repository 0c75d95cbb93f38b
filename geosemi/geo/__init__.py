"""WHERE is a pixel, and how is it read and written. Knows no torch."""
