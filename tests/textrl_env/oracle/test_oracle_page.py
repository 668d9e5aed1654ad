"""The code of docs/oracle.md runs as it stands there and prints what is printed there."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "oracle.md"


def test_the_page_s_code_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    for code, shown in blocks:
        exec(code, names)
        assert capsys.readouterr().out == shown
