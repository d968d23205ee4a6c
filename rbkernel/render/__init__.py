"""The only package that writes HTML, Markdown and text for people."""
