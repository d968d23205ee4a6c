"""jupyter_kernel_test with every optional sample, for the kernel that CONFORMANCE_KERNEL names."""

from __future__ import annotations

import os
from typing import Any

import jupyter_kernel_test


class Kernel(jupyter_kernel_test.KernelTests):
    """The samples; the tests are the library's."""

    kernel_name = os.environ["CONFORMANCE_KERNEL"]
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = (
        {"text": "zi", "matches": {"zip"}},
        {"text": "import base", "matches": {"base64"}},
    )
    complete_code_samples = ("1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n")
    incomplete_code_samples = ("print('''hello", "def f(x):\n  x*2")
    invalid_code_samples = ("import = 7q",)
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = (
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    )
    code_display_data = (
        {
            "code": "from IPython.display import HTML; display(HTML('<b>x</b>'))",
            "mime": "text/html",
        },
        {"code": "from IPython.display import Math; display(Math('x^2'))", "mime": "text/latex"},
    )
    code_history_pattern = "1?2*"
    supported_history_operations: tuple[str, ...] = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def test_history_range(self) -> None:
        """The same test with another operation."""
        self.supported_history_operations = ("tail", "range")
        self.test_history()

    def test_stdin(self) -> None:
        """The library has no test of it."""
        shown: list[dict[str, Any]] = []
        self.kc.execute_interactive(
            "print('hello', input('name: '))",
            allow_stdin=True,
            stdin_hook=lambda _: self.kc.input("world"),
            output_hook=shown.append,
            timeout=60,
        )
        texts = [one["content"]["text"] for one in shown if one["msg_type"] == "stream"]
        assert "".join(texts) == "hello world\n"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    """The message that a kernel greets each subscriber with."""

    kernel_name = os.environ["CONFORMANCE_KERNEL"]
    support_iopub_welcome = True
