"""Names of directories: such as every system takes."""

from __future__ import annotations

import pytest

from exporter.planning.folder_names import LONGEST, folder_name, is_folder_name

OF_WINDOWS = set('<>:"/\\|?*')  # what its file systems have no names with


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pixel-8", "pixel-8"),
        ("My_Phone.2", "My_Phone.2"),
        ("my phone", "my-phone"),
        ("mon téléphone", "mon-telephone"),
        ("a/b", "a-b"),
        ("../../etc", "etc"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("電話", "unnamed"),
        ("-o", "o"),
        ("phone.", "phone"),
        ("a+b", "a-b"),
        ("q:*?\n", "q"),
        ("NUL", "my-NUL"),
        ("com1.old", "my-com1.old"),
        ("console", "console"),
        ("x" * 240, "x" * LONGEST),
        ("x" * (LONGEST - 1) + "-y", "x" * (LONGEST - 1)),
    ],
)
def test_any_text_becomes_a_name_that_every_system_takes(text: str, name: str) -> None:
    assert folder_name(text) == name
    assert is_folder_name(text) is (text == name)
    assert is_folder_name(name), "what is proposed is taken"
    assert name.isascii()
    assert not OF_WINDOWS & set(name)
