"""The document: front matter, parameters, and the catalogue of runbooks."""
