"""The address parser under whatever text there is: what it yields is an address of one shape, and means one mailbox."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import unicodedata

import idna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline import address as module
from pipeline.address import (
    MAX_DOMAIN,
    MAX_LABEL,
    MAX_LOCAL,
    NULL_SENDER,
    Address,
    AddressError,
    domain_name,
    forward_path,
    listed,
    local_key,
    parse,
    path,
    reverse_path,
)

# What means something to the parser. Alone it is hardly ever an address; put into one, it makes one that is almost right.
PIECES = [
    "a", ".", "@", '"', "\\", " ", "<", ">", "(", ",", ":", ";", "[", "%", "!", "/", "=", "-", "_", "\0", "\r", "\n", "\t", "\x0b", "\x7f",
    "\x85", "\xa0", "é", "e\u0301", "ß", "ẞ", "İ", "\u017f", "\u3002", "\uff0e", "\uff61", "\uff20", "\uff1c", "\u200d", "\u00ad", "\u202e",
    "\u2028", "\u0660", "\u30fb", "\ufdfa", "\ud800", "\udcff", "xn--", "x" * 63, "y" * 64, "z" * 250, "@example.test", "<a@b.test>",
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
quoted = st.text('a @,:;<>()[].%!é"\\', max_size=9).map(lambda plain: '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"')
locals_ = st.lists(st.text("aZ09+=%!/'é", min_size=1, max_size=4), min_size=1, max_size=3).map(".".join) | quoted
labels = st.lists(
    st.sampled_from(["example", "test", "b", "Ex-1", "_s", "bücher", "ÉCOLE", "xn--4ca", "\uff58"]), min_size=1, max_size=4
)  # fmt: skip
domains = labels.map(".".join) | st.sampled_from(["[192.0.2.1]", "[IPv6:2001:DB8::1]"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """An address, every other time with something in it that was not meant to be there."""
    text = f"{draw(locals_)}@{draw(domains)}"
    if draw(st.booleans()):
        return text
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(pieces) + text[at:]


@st.composite
def paths(draw: st.DrawFn) -> str:
    route = draw(st.sampled_from(["", "", "@hop.test:", "@one.test,@two.test:", ":", "@:"]))
    rest = draw(st.sampled_from(["", "", " SIZE=1", "  NOTIFY=NEVER >", ">", " <x@y.test>"]))
    return draw(st.sampled_from(["<>", "<postmaster>", "<PostMaster>", f"<{route}{draw(texts())}>"])) + rest


anything = st.text(st.characters(), max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)

QUOTED = re.compile(r'"(?:[^"\\]|\\[ -~])*"')
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
# What ends a line or a path, or turns the order of letters around, for some reader.
HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def parsed(function, text):
    """The address in `text`, or None. Nothing but AddressError may be raised."""
    try:
        found = function(text)
    except AddressError:
        return None
    address = found[0] if isinstance(found, tuple) else found
    return parse(address) if isinstance(address, str) and address else address or None


def check_shape(address: Address) -> None:
    """What every part of the program relies on."""
    assert HARMFUL.search(str(address)) is None
    str(address).encode()
    quoted = address.local.startswith('"')
    assert QUOTED.fullmatch(address.local) if quoted else not set(address.local) & set(' "\\<>()[]@,;:')
    assert quoted or not (address.local.startswith(".") or address.local.endswith(".") or ".." in address.local)
    assert len(address.local.encode()) <= MAX_LOCAL
    if address.domain.startswith("["):
        inner = address.domain[1:-1]
        assert str(ipaddress.ip_address(inner.removeprefix("IPv6:"))) == inner.removeprefix("IPv6:")
    else:
        assert NAME.fullmatch(address.domain)
        assert max(map(len, address.domain.split("."))) <= MAX_LABEL
        assert not address.domain.rpartition(".")[2].isdigit()


@given(texts() | anything)
@example('"\udcff"@example.test')
@example("a@" + "\u0627" + "\u0660" * 252)
def test_any_text_is_an_address_in_shape_that_is_read_back_as_itself_or_an_address_error(text):
    address = parsed(parse, text)
    if address is not None:
        check_shape(address)
        assert parse(str(address)) == address
        assert reverse_path(path(str(address))) == (str(address), "")
        assert forward_path(path(str(address))) == (address, "")
    if (kept := parsed(listed, text)) is not None:
        assert HARMFUL.search(kept.local) is None
        assert local_key(kept.local) == parse(text.strip()).key


@given(paths() | anything)
def test_any_path_is_an_address_in_shape_with_the_rest_after_a_space_or_an_address_error(text):
    for function in (reverse_path, forward_path):
        try:
            found, rest = function(text)
        except AddressError:
            continue
        assert text.endswith(rest)
        before = text.removesuffix(rest).rstrip(" ")
        assert before.endswith(">")
        if isinstance(found, Address) and not found.domain:
            assert before.lower() == "<postmaster>"
        elif found == NULL_SENDER:
            assert before == "<>"
        else:
            address = parse(str(found))
            check_shape(address)
            # The domain is what stands behind the last @: nothing before it, a route or a quoted @ included, is one.
            last = before[:-1].rpartition("@")[2]
            assert address.domain.startswith("[") or domain_name(last) == address.domain
            local = before[:-1].rpartition("@")[0]
            assert local.endswith(address.local)


def plainly(text: str) -> tuple[str, str] | None:
    """What a path of ASCII without quotes, route and literals means, by hand: RFC 5321 4.1.2's Dot-string "@" Domain."""
    if not (text.startswith("<") and text.endswith(">") and text.count("@") == 1):
        return None
    local, _, domain = text[1:-1].partition("@")
    atext = "!#$%&'*+-/=?^_`{|}~"
    if not all(atom and all(c.isalnum() or c in atext for c in atom) for atom in local.split(".")) or len(local) > 255:
        return None
    labels = domain.lower().split(".")
    if not all(0 < len(label) < 64 and all(c.isalnum() or c in "-_" for c in label) for label in labels):
        return None
    if any(label[0] == "-" or label[-1] == "-" for label in labels) or labels[-1].isdigit() or len(domain) > 253:
        return None
    return local, domain.lower()


@st.composite
def ascii_paths(draw: st.DrawFn) -> str:
    local = draw(
        st.lists(st.sampled_from(["a", "Bc", "x" * 64, "b" * 190, "%", "!"]), min_size=1, max_size=4).map(".".join)
    )
    domain = draw(st.lists(st.sampled_from(["a", "B-c", "_", "1", "x" * 63]), min_size=1, max_size=5).map(".".join))
    text = f"{local}@{domain}"
    at = draw(st.integers(0, len(text)))
    return f"<{text[:at]}{draw(st.sampled_from(['', '', '.', '@', '-', ' ', '>', '1']))}{text[at:]}>"


@given(ascii_paths())
@example("<a@example.test.>")
@example("<a@b@example.test>")
def test_paths_of_plain_ascii_mean_what_the_grammar_says(text):
    address = parsed(forward_path, text)
    expected = plainly(text)
    assert (address and (address.local, address.domain)) == (expected or None)


# Keys


@given(locals_)
def test_quoting_what_needs_none_and_escaping_everything_name_the_same_mailbox(local):
    address = parsed(parse, f"{local}@example.test")
    assume(address is not None)
    plain = address.plain
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'
    escaped = '"' + "".join(f"\\{letter}" if letter.isascii() else letter for letter in plain) + '"'
    assert len({parse(f"{way}@example.test").key for way in (local, quoted, escaped)}) == 1
    assert parse(f"{quoted}@example.test").plain == plain


def test_no_letter_of_unicode_is_another_mailbox_in_another_case_or_composition():
    """All of them. The dotless i alone has no way back: its capital is the one of the dotted i everywhere but in Turkey."""
    odd = []
    for code in range(0x110000):
        letter = chr(code)
        ways = {letter.upper(), letter.lower(), letter.title(), letter.casefold(), unicodedata.normalize("NFD", letter)}
        key = local_key(letter)
        if len(ways) > 1 and {local_key(way) for way in ways} != {key}:
            odd.append(letter)
        assert local_key(key) == key or letter in odd
    assert odd == ["\u0131"]


@given(st.text(max_size=8))
def test_composition_never_makes_another_mailbox(plain):
    keys = {local_key(unicodedata.normalize(form, plain)) for form in ("NFC", "NFD")} | {local_key(plain)}
    assert len(keys) == 1
    assert local_key(keys.copy().pop()) == keys.pop()


# Domains


@given(domains | pieces.map("a".__add__) | texts().map(lambda text: text.rpartition("@")[2]) | anything)
def test_a_domain_name_is_its_own_domain_name_in_any_case(text):
    try:
        name = domain_name(text)
    except AddressError:
        return
    assert NAME.fullmatch(name)
    assert domain_name(name) == domain_name(name.upper()) == name


@given(labels, st.sampled_from(["\u3002", "\uff0e", "\uff61"]))
def test_all_dots_that_unicode_has_for_it_separate_labels_alike(labels, dot):
    try:
        name = domain_name("ü." + ".".join(labels))
    except AddressError:
        with pytest.raises(AddressError):
            domain_name("ü" + dot + dot.join(labels))
    else:
        assert domain_name("ü" + dot + dot.join(labels)) == name


class Reached:
    """What idna is given to encode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        encode = idna.encode

        def noted(name, *args, **options):
            self.names.append(name)
            return encode(name, *args, **options)

        monkeypatch.setattr(idna, "encode", noted)


# Each of these made idna look at every character for every character.
SLOW = [
    "\u0627" + "\u0660" * 251 + "\u0627", "\u30fb" * 252 + "\u30a2", "\u0627" + "\u0651\u200c" * 125, "ü" * 253, "\ufdfa" * 14,
    "\u33ff" * 60, "a" * 64 + ".ü", "ü." + "xn--" + "a" * 240, "ü" + "\u3002" * 252, "\u00ad" * 1012, "e\u0301" * 506, "a\u0301\u0327" * 337,
]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=[f"{text[:3]!a}..." for text in SLOW])
def test_labels_that_cannot_fit_never_reach_the_encoder(text, monkeypatch):
    reached = Reached(monkeypatch)
    with pytest.raises(AddressError):
        domain_name(text)
    assert all(len(label) <= MAX_LABEL for name in reached.names for label in name.split("."))


@given(
    st.lists(
        st.sampled_from(["ü", "é", "e\u0301", "\u0660", "\u0627", "a", ".", "\u3002", "\ufdfa", "x" * 60, "ß" * 50]),
        max_size=60,
    )
)
def test_what_reaches_the_encoder_is_a_name_of_bounded_labels(parts):
    text = "ü" + "".join(parts)
    with pytest.MonkeyPatch.context() as monkeypatch:
        reached = Reached(monkeypatch)
        with contextlib.suppress(AddressError):
            domain_name(text)
        for name in reached.names:
            assert len(name) <= MAX_DOMAIN
            assert max(map(len, name.split("."))) <= MAX_LABEL


letters = st.sampled_from(["a", "ü", "ệ", "ё", "例", "한", "ß", "ﬀ", "é", "\uff10", "-"])
names = st.lists(st.lists(letters, min_size=1, max_size=40).map("".join), min_size=1, max_size=6).map(".".join)


@given(names, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", "\u00ad", "\ufe0f"]))
def test_no_name_is_refused_for_its_length_that_fits_as_a_labels_however_it_was_typed(name, form, ignored):
    typed = ignored.join(unicodedata.normalize(form, name))
    assume(not typed.isascii() and len(typed) <= 1000)
    try:
        expected = idna.encode(typed, uts46=True).decode().lower()
    except idna.IDNAError:
        return
    assume(module._DOMAIN.fullmatch(expected))
    assert domain_name(typed) == expected


def test_the_longest_names_there_are_can_be_typed_decomposed():
    """63 octets hold 57 times an ü: `xn--`, then a digit for each and some for the first. Decomposed they are twice as many."""
    longest = max(
        (label for label in ("ü" * n for n in range(1, 64)) if len(b"xn--" + label.encode("punycode")) <= MAX_LABEL),
        key=len,
    )
    name = ".".join([longest] * 3)
    typed = unicodedata.normalize("NFD", name)
    assert len(typed) > MAX_DOMAIN
    assert domain_name(typed) == domain_name(name) == idna.encode(name).decode()
    with pytest.raises(AddressError):
        domain_name(longest + "ü")
