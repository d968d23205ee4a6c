"""Text of SQL: the lexer, the guard, and what words do. Pure."""
