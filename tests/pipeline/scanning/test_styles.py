"""What a style hides, and what it only makes small or pale."""

from __future__ import annotations

import pytest

from pipeline.scanning.styles import Styles, hiding


@pytest.mark.parametrize(
    "style",
    [
        "display:none", "DISPLAY : NONE !important", "visibility:hidden", "visibility:collapse", "font-size:0", "font-size:0px", "font-size:1px", "font-size:0.1px",
        "font-size:.5pt;x:y", "font-size:0.01em", "font-size:.05rem", "font-size:0%", "font-size:00.00em", "max-height:0", "height:0px;", "width:0", "opacity:0", "opacity:0.0", "opacity:.001", "opacity:0%",
        "mso-hide:all", "position:absolute;left:-9999px", "text-indent:-999em", "clip:rect(0,0,0,0)", "clip:rect(1px, 1px, 1px, 1px)", "clip-path:inset(50%)",
        "display:/* a * b */none", "d\\69 splay:none", "display:\\6e one",
    ],
)  # fmt: skip
def test_styles_that_hide(style):
    assert Styles().look({"style": style}, "")[1]
    assert Styles(hiding([f".a {{{style}}}"])).look({"class": "b a"}, "")[1]


@pytest.mark.parametrize(
    "style",
    [
        "display:block", "visibility:visible", "font-size:10px", "font-size:0.8em", "font-size:.9rem", "font-size:0.75em;color:red", "font-size:11pt", "font-size:80%", "font-size:1.1em", "height:100%",
        "width:0.5em", "width:05px", "opacity:0.5", "opacity:1", "opacity:.9", "left:-5px", "margin-left:-12px", "line-height:0", "border-width:0", "min-width:0", "min-height:0px", "border-left-width:0;", "margin-left:-999px", "text-indent:-1.5em", "clip:rect(auto,auto,auto,auto)", "", "\\", "/*", "\\110000 x",
    ],
)  # fmt: skip
def test_styles_that_do_not(style):
    assert not Styles().look({"style": style}, "")[1]


def test_rules_for_some_screens_hide_nothing():
    assert hiding(["@media (max-width:600px) { .a{display:none} } .b{display:none}"]) == {"b"}
