"""The client of a run's kernel, which is ready as soon as the kernel is."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

# a kernel that has not answered by then is asked again, and checked to be alive
_ASK_AGAIN_S = 1.0
# the output channel may be connected after the request channel, and miss the first request
_CONNECT_S = 0.2


class KernelClient(AsyncKernelClient):
    """Jupyter's client, without the pause of 0.2 s that ends its `wait_for_ready`.

    Jupyter waits for that long without output, so that no earlier output is left in the channel.
    Here the last request's own "idle" message tells this: output arrives in order.
    """

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers, and its output arrives.

        Parameters
        ----------
        timeout
            How long to wait, in seconds; None for no limit.

        Raises
        ------
        RuntimeError
            The kernel died, or did not answer in time.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not await self._answers(self.kernel_info()):
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    async def _answers(self, asked: str) -> bool:
        """Return whether a request is answered and its output has arrived, both completely."""
        try:
            while True:
                reply = await self.shell_channel.get_msg(timeout=_ASK_AGAIN_S)
                if _is_about(reply, asked):
                    break
            while True:
                output = await self.iopub_channel.get_msg(timeout=_CONNECT_S)
                if _is_about(output, asked) and output["content"].get("execution_state") == "idle":
                    break
        except Empty:
            return False
        self._handle_kernel_info_reply(reply)
        return True


def _is_about(message: dict[str, Any], asked: str) -> bool:
    return bool(message["parent_header"].get("msg_id") == asked)
