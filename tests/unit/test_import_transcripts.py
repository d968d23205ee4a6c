"""What a terminal shows: prompts, their continuations, and what is typed there."""

from __future__ import annotations

import pytest

from tests.support.markdown_corpus import code_of, imported, text_of


def _one(content: str, info: str = "console") -> tuple[str, str]:
    [one] = imported(f"# T\n\n## Step\n\n```{info}\n{content}\n```\n".encode())
    return code_of(one), text_of(one)


class TestPsql:
    @pytest.mark.parametrize("info", ["console", "sql", "psql"])
    @pytest.mark.parametrize("further", ["shop-# ", "shop-#   ", "shop-#\t", "shop-#\nshop-# "])
    def test_a_statement_keeps_its_condition(self, further: str, info: str) -> None:
        code, _ = _one(f"shop=# UPDATE carts SET closed = true\n{further}WHERE id = 9;", info)
        assert "rb.actions.statement" in code
        assert "WHERE id = 9" in code
        assert "shop" not in code.partition("UPDATE")[2]

    def test_a_list_in_brackets_goes_on(self) -> None:
        code, _ = _one("shop=> DELETE FROM carts WHERE id IN (\nshop(>    7,\nshop(>  8);")
        assert "7,\n 8)" in code

    @pytest.mark.parametrize(
        "further", ["          WHERE id = 9;", "\n  WHERE id = 9;", "shop:#  WHERE id = 9;"]
    )
    @pytest.mark.parametrize("verb", ["DELETE FROM carts", "SELECT * FROM carts"])
    def test_a_statement_without_a_certain_end_stays_text(self, verb: str, further: str) -> None:
        code, text = _one(f"shop=# {verb}\n{further}\nshop=# SELECT 4;")
        assert verb not in code
        assert "SELECT 4" in code
        assert f"shop=# {verb}\n{further}\n" in text

    @pytest.mark.parametrize(
        "lines",
        [
            "shop=# BEGIN;\nBEGIN\nshop=*# DELETE FROM carts;\nDELETE 4\nshop=*# COMMIT;",
            "shop=# begin;\nshop=# DELETE FROM carts;\nshop=# commit;",
            "shop=# DELETE FROM carts;\nDELETE 4\nshop=*> ROLLBACK;",
            "shop=!# DELETE FROM carts;",
        ],
    )
    def test_a_transaction_that_is_watched_stays_text(self, lines: str) -> None:
        code, text = _one(f"{lines}\n")
        assert "rb.act(" not in code
        assert lines in text

    def test_what_follows_the_transaction_is_read(self) -> None:
        code, _ = _one("shop=# BEGIN;\nshop=*# COMMIT;\nCOMMIT\nshop=# SELECT 5;")
        assert "SELECT 5" in code
        assert "COMMIT" not in code


class TestOtherPrompts:
    def test_a_statement_of_another_program_stays_together(self) -> None:
        code, text = _one("mysql> DELETE FROM carts\n    ->  WHERE id = 9;\n$ df -h")
        assert '["df", "-h"]' in code
        assert "rb.act(" not in code
        assert "    ->  WHERE id = 9;" in text

    @pytest.mark.parametrize(
        "lines",
        [
            "# mv /data/a \\\n>   /data/b\n> df",
            "# mv /data/a \\\n    /data/b",
            "> /data/a",
            ">   /data/a\n2> df",
        ],
    )
    @pytest.mark.parametrize("info", ["console", "bash"])
    def test_what_may_go_on_a_line_above_is_no_command(self, lines: str, info: str) -> None:
        code, text = _one(f"{lines}\n", info)
        assert "rb.act(" not in code
        assert "rb.shell(" not in code
        assert "/data/b" in text or "/data/a" in text

    def test_a_continued_line_is_no_redirection(self) -> None:
        code, _ = _one("mv /data/a \\\n> /data/b")
        assert "> /data/b" not in code
        code, _ = _one("mv /data/a \\\n> /data/b", "bash")
        assert "rb.act(" not in code
