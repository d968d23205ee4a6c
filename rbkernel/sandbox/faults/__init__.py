"""The faults of the sandbox. Each has a look-alike: the same symptom with another cause."""
