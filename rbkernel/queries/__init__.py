"""PromQL and LogQL as texts: values are inserted, and queries of the catalogue have names."""
