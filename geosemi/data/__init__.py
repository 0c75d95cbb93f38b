"""WHAT does a learner see: scenes and labels turned into batches."""
