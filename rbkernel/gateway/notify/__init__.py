"""Who is told of what happens: events from the evidence, words, an outbox, and apprise."""

from rbkernel.gateway.notify.notifier import Notifier

__all__ = ["Notifier"]
