"""Analyse SQL text: split it into tokens, guard against changes, and classify statements. Pure."""
