"""Words on a terminal; nothing is computed here."""
