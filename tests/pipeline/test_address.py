"""Addresses, paths, domains and the null sender."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.address import Address, AddressError, domain_name, forward_path, parse, path, reverse_path

ATEXT = "abcXYZ019!#$%&'*+/=?^_`{|}~-äß"
atoms = st.text(ATEXT, min_size=1, max_size=12)
dot_strings = st.lists(atoms, min_size=1, max_size=4).map(".".join)
quoted_strings = st.lists(st.sampled_from([*"ab @,:;<>()[].é", '\\"', "\\\\", "\\a", "\\ "]), max_size=20).map(
    lambda parts: '"' + "".join(parts) + '"'
)
local_parts = dot_strings | quoted_strings
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
domains = st.tuples(st.lists(labels, max_size=4), st.from_regex(r"[a-z]{2,12}", fullmatch=True)).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)
addresses = st.builds(Address, local_parts, domains)


@given(addresses)
def test_every_address_is_read_back_from_its_text(address):
    assert parse(str(address)) == address


@given(addresses, st.sampled_from(["", " SIZE=1", "  BODY=8BITMIME SMTPUTF8"]))
def test_every_address_is_read_back_from_its_path_with_the_parameters_after_it(address, parameters):
    assert reverse_path(path(str(address)) + parameters) == (str(address), parameters.strip())
    assert forward_path(path(str(address)) + parameters) == (address, parameters.strip())


@given(addresses, st.lists(domains, min_size=1, max_size=3))
def test_a_source_route_is_dropped(address, hops):
    route = ",".join(f"@{hop}" for hop in hops)
    assert reverse_path(f"<{route}:{address}>") == (str(address), "")
    assert forward_path(f"<{route}:{address}>") == (address, "")


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_address_error(text):
    for function in (parse, reverse_path, forward_path, domain_name):
        try:
            function(text)
        except AddressError:
            continue


@given(st.text(ATEXT + '"\\@<>., []:\r\n\0\t\u202e\u2028', max_size=40), st.sampled_from(["x.example", "[192.0.2.1]"]))
def test_nothing_that_could_break_a_line_or_a_path_is_ever_accepted(local, domain):
    try:
        address = parse(f"{local}@{domain}")
    except AddressError:
        return
    assert not set(str(address)) & set("\r\n\0\t\u202e\u2028")
    assert reverse_path(f"<{address}>") == (str(address), "")


def test_the_null_sender_is_the_empty_string_and_only_a_sender():
    assert reverse_path("<>") == ("", "")
    assert reverse_path("<> SIZE=5") == ("", "SIZE=5")
    assert path("") == "<>"
    with pytest.raises(AddressError):
        forward_path("<>")


@pytest.mark.parametrize(("text", "local"), [("<postmaster>", "postmaster"), ("<PostMaster>", "PostMaster")])
def test_the_bare_postmaster_is_a_recipient_without_a_domain(text, local):
    assert forward_path(text) == (Address(local, ""), "")
    assert str(Address(local, "")) == local
    with pytest.raises(AddressError):
        reverse_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a@", "@b.example", "a b@c.example", "a@b c.example", "a@@b.example", ".a@b.example", "a.@b.example",
        "a..b@c.example", "a@.b.example", "a@b.example.", "a@b..example", "a@-b.example", "a@b-.example", "a@b.1",
        "a@192.0.2.1", "a@[192.0.2.256]", "a@[192.0.2]", "a@[IPv6:1::2::3]", "a@[tag:x]", "a@[]", '"a@b.example',
        'a"b"@c.example', '"a\\"@b.example', '"a\nb"@c.example', "a\0@b.example", "a@b.example\n", " a@b.example",
        "a@b.example ", "a(comment)@b.example", "<a@b.example>", "a,b@c.example", "a@b.example,c@d.example", "a\x80@b.example",
        "a\u202eb@c.example", "ä\u2028@b.example", "x" * 256 + "@b.example", "ü" * 128 + "@b.example", "a@" + "b" * 64 + ".example",
        "a@" + "b." * 130 + "example", "a@" + "ü" * 300, "a@b\uff20c.example", "a@xn--.ü", "a@b/c.example", "a@b%0a.example",
    ],
)  # fmt: skip
def test_what_is_no_mailbox_is_refused(text):
    with pytest.raises(AddressError):
        parse(text)
    with pytest.raises(AddressError):
        reverse_path(f"<{text or ' '}>")


@pytest.mark.parametrize(
    "text",
    [
        "a@b.example", "<a@b.example", "a@b.example>", "<<a@b.example>>", "<a@b.example>x", "<a@b.example>\tSIZE=1", "<a b@c.example>",
        "< a@b.example>", "<a@b.example >", "<@x:>", "<@x a@b.example>", "<@:a@b.example>", "<@x,:a@b.example>", "<x:a@b.example>",
        "Name <a@b.example>", "<a@b.example> <c@d.example>x>",
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(text):
    if text != "<a@b.example> <c@d.example>x>":
        with pytest.raises(AddressError):
            reverse_path(text)
        with pytest.raises(AddressError):
            forward_path(text)
    else:  # The rest is for the parameters to refuse.
        assert reverse_path(text) == ("a@b.example", "<c@d.example>x>")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("User@EXAMPLE.Test", "User@example.test"),
        ("a@Bücher.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("a@\uff45\uff58ample.test", "a@example.test"),
        ("a@例え。テスト", "a@xn--r8jz45g.xn--zckzah"),
        ("a@b_c.example", "a@b_c.example"),
        ("a@localhost", "a@localhost"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0:0::1]", "a@[IPv6:2001:db8::1]"),
        ('"john doe"@b.example', '"john doe"@b.example'),
        ('""@b.example', '""@b.example'),
        ('"a\\"b"@c.example', '"a\\"b"@c.example'),
        ("δοκιμή@b.example", "δοκιμή@b.example"),
        ("bounce+user=b.example@c.example", "bounce+user=b.example@c.example"),
        ("SRS0=x=y=z=a@c.example", "SRS0=x=y=z=a@c.example"),
    ],
)
def test_the_domain_is_kept_in_a_labels_and_the_local_part_as_typed(typed, kept):
    assert str(parse(typed)) == kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("User", "user"),
        ('"user"', "user"),
        ('"us\\er"', "user"),
        ("STRASSE", "straße"),
        ("e\u0301", "é"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_case_needless_quotes_and_composition_do_not_make_another_mailbox(one, other):
    assert parse(f"{one}@b.example").key == parse(f"{other}@b.example").key


def test_quotes_that_matter_are_kept_apart_in_the_plain_form():
    assert parse('"a \\"b"@c.example').plain == 'a "b'


@given(local_parts)
def test_the_key_of_a_key_is_itself(local):
    key = Address(local, "b.example").key
    assert key == key.casefold()


def test_domain_names_are_normalised_for_people_too():
    assert domain_name("Bücher.Example") == "xn--bcher-kva.example"
    for bad in ("", "a b", "a/b", "-a", "a.", "[192.0.2.1]", "1.2.3.4", "a\n"):
        with pytest.raises(AddressError):
            domain_name(bad)
