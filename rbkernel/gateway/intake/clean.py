"""Alerts without the secrets in their texts: what the store, routing and evidence get to see.

Senders put DSNs and tokens into labels and annotations, and the store keeps them for long. So they
go before anything is written, looked up or routed. What tells alerts apart is made of the same
texts, so that an alert's repetition and its end are still known as its own: the same secret gives
the same mask, and a fingerprint is of the labels as they were sent.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.jobs.alert import Alert
from rbkernel.redact import Redactor
from rbkernel.redact.names import is_secret
from rbkernel.redact.span import mask

# a label of this name may hold a secret's name: `secret="shop-tls"`, as kube-state-metrics has it
_MAY_NAME_ONE = re.compile(r"(?:.*[._-])?(?:secret|token|credentials?)", re.IGNORECASE)


def without_secrets(reading: Reading, redactor: Redactor) -> Reading:
    """Return what was read of a body, without secrets in its alerts and in what is said of it."""
    alerts = tuple(_clean(alert, redactor) for alert in reading.delivery.alerts)
    return dataclasses.replace(
        reading,
        delivery=dataclasses.replace(reading.delivery, alerts=alerts),
        problems=tuple(map(redactor.text, reading.problems)),
        ignored=redactor.text(reading.ignored),
    )


def body_without_secrets(raw: bytes, redactor: Redactor) -> bytes:
    """Return the bytes of a body, without secrets; the very same bytes where there are none."""
    text = raw.decode("utf-8", "surrogateescape")
    clean = redactor.text(text)
    return raw if clean is text else clean.encode("utf-8", "surrogateescape")


def labels_without_secrets(labels: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """Return labels or annotations with a mask in the place of each secret.

    >>> redactor = Redactor()
    >>> labels_without_secrets({"password": "tulip", "secret": "shop-tls"}, redactor)
    {'password': '[redacted:password]', 'secret': 'shop-tls'}
    >>> labels_without_secrets({"target": "postgres://app:tulip@db1/shop"}, redactor)
    {'target': 'postgres://app:[redacted:dsn]@db1/shop'}
    """
    return {redactor.text(name): _value(name, value, redactor) for name, value in labels.items()}


def _clean(alert: Alert, redactor: Redactor) -> Alert:
    return dataclasses.replace(
        alert,
        group_key=redactor.text(alert.group_key),
        fingerprint=redactor.text(alert.fingerprint),
        episode=redactor.text(alert.episode),
        url=redactor.text(alert.url),
        labels=labels_without_secrets(alert.labels, redactor),
        annotations=labels_without_secrets(alert.annotations, redactor),
    )


def _value(name: str, value: str, redactor: Redactor) -> str:
    """Return a label's value; its name tells, too, what it is."""
    clean = redactor.text(value)
    if clean != value or not is_secret(name):
        return clean
    if _MAY_NAME_ONE.fullmatch(name):
        is_secret_value = bool(redactor.spans(f"{name}: {value}"))
    else:
        is_secret_value = redactor.value({name: value})[name] != value
    return mask("password") if is_secret_value else value
