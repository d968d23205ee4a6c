"""Work on incidents: show them, close them, continue their runs, and write postmortems."""
