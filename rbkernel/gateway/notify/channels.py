"""The channels that carry notifications to targets: apprise, and those of other packages."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from rbkernel.config.notify import Target
from rbkernel.errors import NotifyError, RbkernelError
from rbkernel.extensions import Group, refuses
from rbkernel.gateway.notify import apprise_channel
from rbkernel.spelling import did_you_mean


@runtime_checkable
class Channel(Protocol):
    """The interface of a notification channel: a module or an object with two functions.

    An address is a secret: it comes from ``target.urls()``, and no error may repeat it.
    """

    def names(self, target: Target) -> str:
        """Return the names of the services behind a target, such as ``Slack``, without addresses.

        Raises
        ------
        NotifyError
            The target cannot be used. `rbkernel serve` then reports the reason and does not start.
        """
        ...

    def send(self, target: Target, title: str, body: str, level: str) -> str:
        """Send a message to a target within a minute; return the services that accepted it.

        ``level`` is ``info``, ``success``, ``warning`` or ``failure``.

        Raises
        ------
        NotifyError
            The message was not accepted. It is sent again later.
        """
        ...


def _unusable(_name: str, channel: Any) -> str:
    calls = {"names": ("target",), "send": ("target", "title", "body", "level")}
    whys = ((name, refuses(getattr(channel, name), *given)) for name, given in calls.items())
    return "; ".join(f"its function `{name}`: {why}" for name, why in whys if why)


CHANNELS: Group[Channel] = Group(
    "rbkernel.channels", Channel, {"apprise": apprise_channel}, unusable=_unusable
)


def names(target: Target) -> str:
    """Return the names of the services behind a target, from the target's channel.

    Raises
    ------
    NotifyError
        The target cannot be used, or there is no such channel.
    ExtensionError
        The package that adds the channel is broken.
    """
    channel = _channel(target)
    try:
        return channel.names(target)
    except RbkernelError:
        raise
    except Exception as error:
        raise _failed(target, error) from error


def send(target: Target, title: str, body: str, level: str) -> str:
    """Send a message through the target's channel; return the services that accepted it.

    Raises the same errors as `names`.
    """
    channel = _channel(target)
    try:
        return channel.send(target, title, body, level)
    except RbkernelError:
        raise
    except Exception as error:
        raise _failed(target, error) from error


def _channel(target: Target) -> Channel:
    if target.channel not in CHANNELS:
        raise NotifyError(
            f"there is no channel {target.channel!r}; there are {', '.join(CHANNELS)}"
            f"{did_you_mean(target.channel, CHANNELS)}",
            where=f"[notify.targets.{target.name}]",
            next_step="correct `channel`, or install the package that adds it",
        )
    return CHANNELS[target.channel]


def _failed(target: Target, error: Exception) -> NotifyError:
    # the error's text may hold the address
    return NotifyError(
        f"the channel {target.channel} failed with {type(error).__name__}",
        where=f"[notify.targets.{target.name}]",
        next_step="sending will be retried; `rbkernel notify --test` sends a test message now",
    )
