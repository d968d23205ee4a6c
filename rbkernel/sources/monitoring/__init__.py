"""Query monitoring systems over HTTP: Prometheus, Loki, and stores of traces."""
