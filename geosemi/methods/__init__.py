"""HOW does a learner learn: each file one paper."""
