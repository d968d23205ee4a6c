"""What can go wrong in the sandbox: each fault with a look-alike of another cause."""
