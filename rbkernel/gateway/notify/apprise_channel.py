"""The channel ``apprise``, which sends messages to targets. No other module knows apprise.

A target's address is a secret. apprise writes hosts and addresses into its own log, so that log is
not passed on; errors are described in rbkernel's own words.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Self

from rbkernel.config.notify import Target
from rbkernel.errors import NotifyError

if TYPE_CHECKING:
    import apprise

INSTALL = "pip install 'rbkernel[notify]'"
_STATUS = re.compile(r"error=(\d{3})\b")


def services(target: Target) -> apprise.Apprise:
    """Return apprise's service objects for a target's addresses.

    Raises
    ------
    NotifyError
        apprise is not installed, or does not support an address.
    ConfigError
        The address cannot be fetched.
    """
    library = _library()
    asset = library.AppriseAsset(
        app_id="rbkernel", app_desc="rbkernel", app_url="", async_mode=False, plugin_paths=[]
    )
    made: apprise.Apprise = library.Apprise(asset=asset)
    urls = target.urls()
    for number, url in enumerate(urls, 1):
        if not made.add(url):
            which = f", number {number} of {len(urls)}" if len(urls) > 1 else ""
            raise NotifyError(
                f"apprise does not understand the address{which}",
                where=f"[notify.targets.{target.name}]",
                next_step="write the address in apprise's format, such as slack://… or mailto://…;"
                " docs/how-to/send-notifications.md has examples",
            )
    return made


def names(target: Target) -> str:
    """Return the names of the services behind a target, such as ``Slack``, without addresses."""
    return ", ".join(dict.fromkeys(str(one.service_name) for one in services(target)))


def send(target: Target, title: str, body: str, level: str) -> str:
    """Send a message to a target; return the names of the services that accepted it.

    Raises
    ------
    NotifyError
        Not every service accepted the message.
    ConfigError
        The address cannot be fetched.
    """
    library = _library()
    made = services(target)
    with _Heard() as heard:
        done = made.notify(
            body=body, title=title, notify_type=level, body_format=library.NotifyFormat.TEXT
        )
    if not done:
        raise NotifyError(
            heard.reason,
            where=f"[notify.targets.{target.name}]",
            next_step="sending will be retried; `rbkernel notify --test` sends a test message now",
        )
    return ", ".join(dict.fromkeys(str(one.service_name) for one in made))


def _library() -> Any:
    try:
        import apprise
    except ImportError as error:
        raise NotifyError(
            "apprise, which sends notifications, is not installed",
            where="[notify]",
            next_step=f"run `{INSTALL}`, or remove the targets from rbkernel.toml",
        ) from error
    # whatever level the user sets: apprise's lines contain hosts and tokens
    logging.getLogger("apprise").propagate = False
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return apprise


class _Heard(logging.Handler):
    """Collects the error codes in apprise's log while a message is sent.

    Nothing else is kept, because the log may contain secrets.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._codes: list[str] = []

    @property
    def reason(self) -> str:
        if self._codes:
            return f"the service answered {', '.join(dict.fromkeys(self._codes))}"
        return "the service could not be reached, or refused the message"

    def __enter__(self) -> Self:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._codes += _STATUS.findall(record.getMessage())
