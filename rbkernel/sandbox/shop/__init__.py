"""The service side of the sandbox: a simulated shop, a real Prometheus and a real Alertmanager.

What the shop measures is simulated with a fixed seed, request by request: the shop serves it at
`/metrics`, and Prometheus scrapes it. Faults change the conditions of the simulation.
"""
