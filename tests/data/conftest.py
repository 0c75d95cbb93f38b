"""Makes `replicas` importable from the tests of this folder and of those below it."""
