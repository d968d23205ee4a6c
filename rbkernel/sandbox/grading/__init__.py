"""Grade what any tool says of a fault: the answers, the truth of each scenario, the grades.

The truth is written by hand and names no runbook; the format is in docs/reference/grading.md.
"""
