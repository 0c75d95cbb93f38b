"""Methods against each other: the same data, the same labels, several seeds, and tables that say how sure they are."""
