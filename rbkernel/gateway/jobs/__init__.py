"""The gateway's jobs: their store, the queue, dispatch, and the workers that run them."""
