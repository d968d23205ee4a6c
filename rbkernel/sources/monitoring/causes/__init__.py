"""Find the causes of problems of a service that calls models, from figures of Prometheus. Pure.

Each module is about one problem, and judges each of its possible causes: it is the cause, it is
not, or that is not known. Two questions decide most of them: who accounts for a rise, and is a
figure as usual at this hour.
"""
