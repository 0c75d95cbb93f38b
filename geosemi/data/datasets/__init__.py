"""One file a data set: how its original download is laid out and coded."""
