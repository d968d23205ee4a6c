"""After the fact: incidents, their timeline, postmortems."""
