"""CAN a pseudo-label be believed: opinions of others, and how they are weighed."""
