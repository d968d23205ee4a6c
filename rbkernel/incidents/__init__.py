"""Work on incidents after the fact: show them, close them, and write postmortems."""
