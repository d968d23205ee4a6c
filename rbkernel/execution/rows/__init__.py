"""Set columns of chosen rows in PostgreSQL: exactly these rows, as they were previewed, or none.

A row is changed only if it is the version that was previewed (``xmin``), and only if all the others
are, too. So the values of before are those of the document, and the action can be undone.
"""
