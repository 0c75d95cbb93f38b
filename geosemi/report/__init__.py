"""What came of a run: a page that people look at."""
