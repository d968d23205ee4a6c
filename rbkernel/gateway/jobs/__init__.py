"""Jobs of the gateway: store them, dispatch alerts to them, queue them, and execute them."""
