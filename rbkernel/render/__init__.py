"""The only package that writes HTML, Markdown and plain text for people."""
