"""Execute the commands and the HTTP requests that the configuration allows.

What is executed is computed from the configuration of this process; a proposal only names it, and
gives the values of its placeholders.
"""
