"""Remove secrets from the texts of alerts, before the store, routing and evidence see them.

Senders put DSNs and tokens into labels and annotations, and the store keeps alerts for a long time.
So secrets are removed before an alert is stored, looked up or routed. Repetitions and the end of an
alert are still recognized: the same secret always gives the same mask, and a sender's fingerprint
covers the original labels.
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

# such a label may hold the name of a secret: `secret="shop-tls"`, as in kube-state-metrics
_MAY_NAME_ONE = re.compile(r"(?:.*[._-])?(?:secret|token|credentials?)", re.IGNORECASE)


def without_secrets(reading: Reading, redactor: Redactor) -> Reading:
    """Return the result of reading a body, with secrets removed from alerts and messages."""
    alerts = tuple(_clean(alert, redactor) for alert in reading.delivery.alerts)
    return dataclasses.replace(
        reading,
        delivery=dataclasses.replace(reading.delivery, alerts=alerts),
        problems=tuple(map(redactor.text, reading.problems)),
        ignored=redactor.text(reading.ignored),
    )


def body_without_secrets(raw: bytes, redactor: Redactor) -> bytes:
    """Return a sender's body without secrets; the same bytes object if the body holds none."""
    text = raw.decode("utf-8", "surrogateescape")
    clean = redactor.text(text)
    return raw if clean is text else clean.encode("utf-8", "surrogateescape")


def labels_without_secrets(labels: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """Return an alert's labels or annotations with each secret replaced by a mask.

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
    """Return a label's value without secrets; the label's name helps to detect them."""
    clean = redactor.text(value)
    if clean != value or not is_secret(name):
        return clean
    if _MAY_NAME_ONE.fullmatch(name):
        is_secret_value = bool(redactor.spans(f"{name}: {value}"))
    else:
        is_secret_value = redactor.value({name: value})[name] != value
    return mask("password") if is_secret_value else value
