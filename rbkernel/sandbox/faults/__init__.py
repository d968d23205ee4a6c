"""The faults of the sandbox: each has a look-alike with the same symptom and another cause."""
