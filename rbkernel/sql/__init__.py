"""SQL text: the lexer, the guard, and the classification of statements by words. Pure."""
