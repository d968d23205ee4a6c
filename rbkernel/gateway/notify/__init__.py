"""Notify people: derive events from the evidence, write messages about them, and send these."""

from rbkernel.gateway.notify.notifier import Notifier

__all__ = ["Notifier"]
