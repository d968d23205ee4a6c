"""Continue runs of the gateway when their questions are answered, or their actions verified."""
