"""Extract the statements of a document that a program can use: alerts, limits and others. Pure.

Each module reads words and returns values. Where the words are ambiguous, it returns nothing: a
wrong check is worse than none.
"""
