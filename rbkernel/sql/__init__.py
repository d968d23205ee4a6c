"""Analyse SQL text: lexer, guard, and classification of statements by their words. Pure."""
