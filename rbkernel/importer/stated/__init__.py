"""What a document states that a program can use: alerts, limits, expectations, escalation. Pure.

Each module reads words and returns values. Where the words are ambiguous, it returns nothing: a
wrong check is worse than none.
"""
