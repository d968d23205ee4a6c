"""The faults of the sandbox. For each there is another fault with the same symptom and another
cause.
"""
