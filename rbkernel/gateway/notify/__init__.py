"""Notifications: events from the evidence, templates, an outbox, and apprise."""

from rbkernel.gateway.notify.notifier import Notifier

__all__ = ["Notifier"]
