"""Query the systems that runbooks examine, such as PostgreSQL."""
