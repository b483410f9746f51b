"""Definitions: how they are written down, what is wrong with them, and what opening one reads."""

from __future__ import annotations

import ipaddress
import os
import pickle
from typing import Any

import msgspec
import pytest

from pipeline.faults import ConfigurationError, RefusedError
from pipeline.sources import secrets
from pipeline.sources.checking import check, warnings
from pipeline.sources.cpanel import CpanelReader
from pipeline.sources.csv_reader import CsvReader
from pipeline.sources.definitions import (
    CpanelSource,
    CsvSource,
    Definition,
    LdapSource,
    Query,
    names_of_this_machine,
)
from pipeline.sources.dialling import context
from pipeline.sources.ldap.reader import LdapReader
from pipeline.sources.opening import open_source
from pipeline.sources.secrets import Secret

LDAP = {"servers": ("ldaps://ldap.example.test",), "base": "dc=example,dc=test"}
CPANEL = {"url": "https://cpanel.example.test:2083", "user": "example", "secret_env": "SECRET"}
CSV = {"url": "https://lists.example.test/list.csv"}
ENVIRON = {"SECRET": "s3cret"}


def good() -> list[Definition]:
    return [
        LdapSource(**LDAP),
        LdapSource(**LDAP, profile="active-directory", bind_dn="reader@example.test", secret_file="/run/secrets/ldap"),
        LdapSource(**{**LDAP, "servers": ("ldap://10.0.0.1:3268", "ldap://[2001:db8::1]", "ldaps://x")}),
        LdapSource(
            **LDAP,
            queries=(Query(addresses=("uid", "smtp:proxyAddresses", "1.2.840.113556"), unless=("a=b",), scope="one"),),
            domain="example.test",
            more=("userPrincipalName",),
            filter="(ou=staff)",
            scope="one",
        ),
        CpanelSource(**CPANEL),
        CpanelSource(**{**CPANEL, "url": "http://localhost:2082"}),
        CpanelSource(**{**CPANEL, "url": "http://cpanel.example.test"}, plain=True),
        CsvSource(**CSV),
        CsvSource(path="/var/lib/lists/staff.csv", domain="example.test"),
        CsvSource(url="http://lists.example.test/list.csv?full=1"),
        CsvSource(**CSV, user="jörg", secret_env="SECRET"),
    ]


@pytest.mark.parametrize("definition", good(), ids=range(11))
def test_a_good_definition_is_good_and_survives_being_stored(definition):
    check(definition)
    for codec in (msgspec.msgpack, msgspec.json):
        assert codec.decode(codec.encode(definition), type=Definition) == definition
    assert msgspec.convert(msgspec.to_builtins(definition), Definition) == definition


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"servers": ()}, "from 1 to 10"),
        ({"servers": ("ldap://x",) * 11}, "from 1 to 10"),
        ({"servers": ("ldap.example.test",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("http://x",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://x:99999",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://x:0",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://[::1",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://büro.example",)}, "is no ldap:// or ldaps:// URL"),
        ({"servers": ("ldap://x/dc=x",)}, "only host and port"),
        ({"servers": ("ldap://admin:s3cret@x",)}, "must not hold a password"),
        ({"profile": "exchange"}, "exchange is no profile"),
        ({"base": " "}, "base is empty"),
        ({"base": "dc=x\0"}, "a character that cannot be shown"),
        ({"base": "x" * 5000}, "too long"),
        ({"bind_dn": "cn=x"}, "bind_dn without a password"),
        ({"secret_env": "SECRET"}, "a password without bind_dn"),
        ({"bind_dn": "cn=x", "secret_env": "A", "secret_file": "/b"}, "both given"),
        ({"bind_dn": "cn=x", "secret_env": "A B"}, "no name of a variable"),
        ({"scope": "tree"}, "tree is no scope"),
        ({"filter": "mail=*"}, "filter mail"),
        ({"filter": "(mail=*)(x=y)"}, "filter"),
        ({"more": ("two words",)}, "two words is no attribute"),
        ({"more": ("mail;binary",)}, "is no attribute"),
        ({"more": ("x",) * 51}, "at most 50 attributes"),
        ({"domain": "no domain"}, "domain: no domain"),
        ({"domain": "Example.TEST"}, "write Example.TEST as example.test"),
        ({"page": 0}, "page must be"),
        ({"timeout": 0}, "timeout must be from 0.1 to 600 seconds"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"time_limit": 1e9}, "time_limit must be"),
        ({"queries": (Query(),) * 21}, "at most 20"),
        ({"queries": (Query(addresses=()),)}, "without addresses"),
        ({"queries": (Query(filter="x"),)}, "filter x"),
        ({"queries": (Query(scope="all"),)}, "all is no scope"),
        ({"queries": (Query(targets=("a b",)),)}, "is no attribute"),
        ({"queries": (Query(unless=("state",)),)}, "expected ATTRIBUTE=VALUE"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_ldap_source_is_said(changes, words):
    _refused(LdapSource(**{**LDAP, **changes}), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "cpanel.example.test"}, "is no http:// or https:// URL"),
        ({"url": "https://cpanel.example.test/cpsess1/"}, "only host and port"),
        ({"url": "https://example:s3cret@cpanel.example.test"}, "must not hold a password"),
        ({"url": "http://cpanel.example.test"}, "would send the API token in the clear"),
        ({"url": "https://x\r\nHost: y"}, "cannot be shown"),
        ({"user": "a:b"}, "is no cPanel account"),
        ({"user": ""}, "is no cPanel account"),
        ({"secret_env": ""}, "no API token"),
    ],
)
def test_what_is_wrong_with_a_cpanel_source_is_said(changes, words):
    _refused(CpanelSource(**{**CPANEL, **changes}), words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "a path or a url"),
        ({**CSV, "path": "/x"}, "a path or a url"),
        ({"path": "list.csv"}, "is not absolute"),
        ({"path": "/x", "user": "y", "secret_env": "Z"}, "for a url"),
        ({"url": "ftp://x/list"}, "is no http:// or https:// URL"),
        ({"url": "http://x/list", "secret_env": "SECRET"}, "would send the secret in the clear"),
        ({**CSV, "user": "x"}, "user without a password"),
        ({**CSV, "user": "a:b", "secret_env": "SECRET"}, "cannot be sent"),
        ({**CSV, "domain": "x y"}, "domain: x y"),
    ],
)
def test_what_is_wrong_with_a_csv_source_is_said(fields, words):
    _refused(CsvSource(**fields), words)


def _refused(definition: Definition, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(definition)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert "s3cret" not in str(caught.value)


def test_an_unknown_field_is_no_definition():
    with pytest.raises(msgspec.ValidationError, match="pasword"):
        msgspec.convert({"type": "ldap", **LDAP, "pasword": "s3cret"}, Definition)


def test_which_fields_are_the_operators_is_known():
    assert names_of_this_machine(LdapSource(**LDAP)) == ()
    assert names_of_this_machine(LdapSource(**LDAP, secret_file="/a", ca_file="/b")) == ("secret_file", "ca_file")
    assert names_of_this_machine(CpanelSource(**CPANEL)) == ("secret_env",)
    assert names_of_this_machine(CsvSource(path="/etc/shadow")) == ("path",)


@pytest.mark.parametrize(
    ("definition", "number"),
    [
        (LdapSource(**LDAP), 0),
        (LdapSource(**LDAP, verify=False), 1),
        (LdapSource(servers=("ldap://x",), base="b", bind_dn="c", secret_env="S", starttls=False), 1),
        (LdapSource(servers=("ldap://127.0.0.1",), base="b", bind_dn="c", secret_env="S", starttls=False), 0),
        (LdapSource(servers=("ldap://x",), base="b", starttls=False), 0),
        (CsvSource(url="http://x/list"), 1),
        (CsvSource(url="http://[::1]/list"), 0),
        (CpanelSource(**{**CPANEL, "url": "http://x"}, plain=True), 1),
    ],
)
def test_what_is_allowed_and_unwise_is_said(definition, number):
    assert len(warnings(definition)) == number


# Opening


def test_a_definition_is_opened_as_what_it_describes(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    for definition, kind in (
        (LdapSource(**LDAP, bind_dn="cn=x", secret_file=str(secret)), LdapReader),
        (CpanelSource(**CPANEL), CpanelReader),
        (CsvSource(**CSV), CsvReader),
        (CsvSource(path="/x"), CsvReader),
    ):
        source: Any = open_source(definition, allowed=(), environ=ENVIRON)
        assert isinstance(source, kind)


def test_a_caller_with_a_secret_of_its_own_needs_none_in_the_definition():
    given = Secret("s3cret")
    open_source(LdapSource(**LDAP, bind_dn="cn=x"), allowed=(), secret=given)
    open_source(CpanelSource(**{**CPANEL, "secret_env": ""}), allowed=(), secret=given)
    with pytest.raises(ConfigurationError, match="cannot be sent"):
        open_source(CpanelSource(**{**CPANEL, "secret_env": ""}), allowed=(), secret=Secret("a\r\nb"))


@pytest.mark.parametrize(
    "definition",
    [
        LdapSource(**{**LDAP, "servers": ("ldap://ldap.example.test", "ldap://127.0.0.1")}),
        LdapSource(**{**LDAP, "servers": ("ldap://[::ffff:10.0.0.1]",)}),
        CpanelSource(**{**CPANEL, "url": "https://192.168.1.1:2083"}),
        CsvSource(url="http://169.254.169.254/latest/meta-data/"),
    ],
)
def test_an_address_in_a_network_that_is_not_allowed_is_refused_when_it_is_opened(definition):
    with pytest.raises(RefusedError, match="may not dial") as caught:
        open_source(definition, allowed=(), environ=ENVIRON)
    assert "allow_networks" in caught.value.remedy
    everywhere = [ipaddress.ip_network("0.0.0.0/0")]
    open_source(definition, allowed=everywhere, environ=ENVIRON)


def test_an_authority_that_is_none_is_told(tmp_path):
    path = tmp_path / "ca.pem"
    for content in (None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"ca_file .*ca\.pem: "):
            context(str(path), verify=True)


# Secrets


def test_a_secret_is_read_from_a_file_without_its_line_end(tmp_path):
    path = tmp_path / "secret"
    for content, text in (
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3 cret \r\n", "s3 cret "),
        ("ü\n".encode(), "ü"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        found = secrets.read(str(path), "")
        assert found is not None
        assert found.reveal() == text


def test_a_secret_is_read_from_the_environment():
    found = secrets.read("", "SECRET", ENVIRON)
    assert found is not None
    assert found.reveal() == "s3cret"
    assert secrets.read("", "", ENVIRON) is None
    with pytest.raises(ConfigurationError, match="no variable OTHER"):
        secrets.read("", "OTHER", ENVIRON)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"a\nb\n", "more than one line"),
        (b"a\0b", "control character"),
        (b"\xff", "is not UTF-8"),
        (b"x" * 5000, "4,096 octets"),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(tmp_path, content, words):
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=words) as caught:
        secrets.read(str(path), "")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device"])
def test_a_secret_in_what_is_no_file_is_refused(tmp_path, kind):
    path = str(tmp_path / "secret")
    if kind == "directory":
        (tmp_path / "secret").mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    with pytest.raises(ConfigurationError, match="secret"):
        secrets.read(path, "")


def test_a_file_that_everybody_may_change_is_refused_and_one_that_everybody_may_read_is_named(tmp_path, capsys):
    """Mounted secrets of containers are readable for all by default."""
    path = tmp_path / "secret"
    path.write_text("s3cret")
    path.chmod(0o602)
    with pytest.raises(ConfigurationError, match="everybody may change"):
        secrets.read(str(path), "")
    path.chmod(0o440)
    secrets.read(str(path), "")
    assert capsys.readouterr().out == ""
    path.chmod(0o444)
    assert secrets.read(str(path), "") is not None
    said = capsys.readouterr().out
    assert "read by everybody" in said
    assert str(path) in said
    assert "s3cret" not in said


def test_a_secret_is_not_shown_and_not_stored():
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
