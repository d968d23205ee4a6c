"""Runbook documents: front matter, parameters, and the catalogue of runbooks."""
