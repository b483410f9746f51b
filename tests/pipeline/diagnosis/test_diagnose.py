"""What servers of the field say, and what the table makes of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.diagnosis import Action, diagnose, in_force, read
from pipeline.diagnosis.diagnose import plain
from pipeline.diagnosis.table import LANGUAGES, LONGEST_TABLE, load, parse
from pipeline.events import Attempt
from pipeline.faults import ConfigurationError
from pipeline.outcome import parse_reply

TABLE = read()


def attempt(stage: str, reply: str, software: str = "") -> Attempt:
    common = {"server": "mx.example.test:25", "stage": stage, "software": software}
    if not reply[:3].isdigit():
        return Attempt(**common, enhanced="4.4.1", reply=reply)
    parsed = parse_reply([line.encode() for line in reply.split("\\n")])
    return Attempt(**common, code=parsed.code, enhanced=parsed.enhanced, reply=parsed.text)


def replies() -> list[tuple[str, ...]]:
    lines = Path(__file__).with_name("replies.txt").read_text("utf-8").splitlines()
    return [tuple(part.strip() for part in line.split("|", 4)) for line in lines if line and not line.startswith("#")]


REPLIES = replies()


@pytest.mark.parametrize(("software", "stage", "about", "action", "reply"), REPLIES)
def test_a_reply_of_the_field_is_understood(software, stage, about, action, reply):
    found = diagnose(attempt(stage, reply, software))
    assert found == diagnose(attempt(stage, reply), software=software)
    assert (found.about, found.action.value, found.rule) == (about, action, found.rule)


def test_there_are_many_of_each_kind_of_server():
    assert len(REPLIES) >= 400
    of = {software for software, *_ in REPLIES}
    assert {"postfix", "exim", "exchange", "exchange-online", "google", "sendmail", "qmail", "zimbra", "domino", "kerio", "mdaemon", "hmailserver"} <= of  # fmt: skip
    assert {about for _, _, about, *_ in REPLIES} == set(TABLE.classes)


def test_no_rule_is_there_for_nothing():
    met = {diagnose(attempt(stage, reply, software)).rule for software, stage, *_, reply in REPLIES}
    met.add(
        diagnose(
            Attempt(server="", stage="route", enhanced="4.3.5", reply="We cannot log in: there is no password.")
        ).rule
    )
    assert {rule.name for rule in TABLE.rules} - met == set()


stages = st.sampled_from(["connect", "greeting", "ehlo", "starttls", "mail", "rcpt", "data", "dot"])
words = st.lists(
    st.sampled_from([phrase for rule in TABLE.rules for phrase in rule.phrases] + ["x", "<a@b.example>", "\n"])
)


@given(stages, st.sampled_from([0, *range(200, 600)]), words.map(" ".join) | st.text(max_size=300))
def test_nothing_but_a_5xx_about_the_message_is_ever_a_failure(stage, code, text):
    one = Attempt(
        server="mx:25", stage=stage, code=code, enhanced=f"{code // 100}.0.0" if code else "4.4.1", reply=text
    )
    found = diagnose(one)
    if found.action is Action.FAIL:
        assert 500 <= code < 600
        assert stage in ("mail", "rcpt", "data", "dot")
    assert found.about in TABLE.classes


def test_a_route_that_cannot_exist_fails():
    gone = Attempt(server="", stage="route", enhanced="5.1.2", reply="There is no domain example.test.")
    assert diagnose(gone).action is Action.FAIL
    assert diagnose(msgspec.structs.replace(gone, enhanced="4.4.3")).action is Action.BACK_OFF


@pytest.mark.parametrize("name", ["virus", "spam", "blacklist", "relay.denied", "greylist", "quota-exceeded"])
def test_what_a_mailbox_is_called_does_not_matter(name):
    for reply in (
        f"550 5.1.1 <{name}@example.com>: Recipient address rejected: User unknown",
        f"550 {name}@x.example user unknown",
    ):
        assert diagnose(attempt("rcpt", reply)).about == "recipient"


def test_the_words_of_a_reply_are_one_line_without_codes_and_addresses():
    assert (
        plain("550-5.1.1 The  Account\n550-5.1.1\tdoes not\n550 5.1.1 exist <a@b.example>")
        == "the account does not exist <@>"
    )
    assert plain("550 5.1.1.1 x\n450") == "5.1.1.1 x"


def test_each_class_has_its_texts_in_each_language():
    for known in TABLE.classes.values():
        texts = [known.en, known.de, known.owner_en, known.owner_de, known.renter_en, known.renter_de]
        assert all(text and text == text.strip() for text in texts)
    for rule in TABLE.rules:
        assert bool(rule.en) == bool(rule.de), rule.name
        assert bool(rule.owner_en) == bool(rule.owner_de), rule.name
        assert bool(rule.renter_en) == bool(rule.renter_de), rule.name
    found = diagnose(attempt("rcpt", "550 5.1.1 User unknown"))
    assert set(found.title) == set(found.owner) == set(found.renter) == set(LANGUAGES)


def test_texts_of_a_rule_go_before_those_of_its_class():
    busy, gone = diagnose(attempt("rcpt", "450 4.2.1 Busy")), diagnose(attempt("rcpt", "550 5.1.1 User unknown"))
    assert busy.about == gone.about == "recipient"
    assert busy.title["en"] == "The mailbox takes nothing just now"
    assert busy.owner["de"].startswith("Sehen Sie im Protokoll Ihres Servers nach")
    assert gone.title == TABLE.classes["recipient"].title
    assert gone.renter == TABLE.classes["recipient"].renter


@pytest.mark.parametrize(
    ("greeting", "software"),
    [
        ("220 mx.example.com ESMTP Postfix (Debian/GNU)", "postfix"),
        ("220-host.example.net ESMTP Exim 4.96 #2 Tue, 24 Nov 2026 10:00:00 +0000\n220 We do not authorize", "exim"),
        ("220 EX1.example.com Microsoft ESMTP MAIL Service ready at Tue, 24 Nov 2026", "exchange"),
        ("220 VE1EUR01FT032.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready", "exchange-online"),
        ("220 mx.google.com ESMTP a1-20020 - gsmtp", "google"),
        ("220 mail.example.com ESMTP Service (HCL Domino Release 12.0) ready", "domino"),
        ("220 mail.example.com ESMTP", ""),
        ("", ""),
    ],
)
def test_a_server_is_known_by_its_greeting(greeting, software):
    assert TABLE.software_of(greeting) == software


TABLE_TEXT = """
version = 2
[software]
exim = ["esmtp exim"]
[class.other]
action = "fail"
en = "a"
de = "a"
owner_en = "a"
owner_de = "a"
renter_en = "a"
renter_de = "a"
"""


def test_a_text_that_is_missing_is_named():
    good = f'{TABLE_TEXT}\n[[rule]]\nname = "a"\nclass = "other"\ncodes = ["5xx"]\n'
    assert parse(good, "mine.toml").version == 2
    with pytest.raises(ConfigurationError, match="class 'other': a text is empty"):
        parse(good.replace('en = "a"', 'en = " "', 1), "mine.toml")
    with pytest.raises(ConfigurationError, match="software: phrases"):
        parse(good.replace("esmtp exim", "ESMTP Exim"), "mine.toml")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('name = "a"\nclass = "strange"', "there is no class 'strange'"),
        ('name = "a"\nclass = "other"\nphrases = ["Upper"]', "lower case"),
        ('name = "a"\nclass = "other"\nphrases = ["two  blanks"]', "single blanks"),
        ('name = "a"\nclass = "other"\nphrases = [""]', "lower case"),
        ('name = "a"\nclass = "other"\ncodes = ["600"]', "a code is like"),
        ('name = "a"\nclass = "other"\naction = "explode"', "explode"),
        ('name = "a"\nclass = "other"\nphrase = ["x"]', "phrase"),
        ('name = "a"\nclass = "other"\n[[rule]]\nname = "a"\nclass = "other"', "two rules are called 'a'"),
        ('name = "a"\nclass = "other"\ncodes = ["5x0"]', "a code is like"),
        ('name = "a"\nclass = "other"\nenhanced = ["550"]', "an enhanced status is like"),
        ('name = "a"\nclass = "other"\nstages = ["rctp"]', "there is no stage 'rctp'"),
        ('name = "a"\nclass = "other"\nsoftware = ["exmi"]', "there is no software 'exmi'"),
        ('name = ""\nclass = "other"', "a rule has a name"),
        ('name = "a"\nclass = "other"\naction = "hold"', "holds for every reply"),
        ('name = "a"\nclass = "other"\n[software]', "mine.toml"),
        ('name = "a"\nclass = "other"\n[class.new]\naction = "fail"\nen = ""', "class 'new': .*`de`"),
        ("name = ", "nvalid"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_reason(rule, words):
    with pytest.raises(ConfigurationError, match=words):
        parse(f"{TABLE_TEXT}\n[[rule]]\n{rule}\n", "mine.toml")


def test_a_table_of_one_s_own_decides_otherwise(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        f'{TABLE_TEXT}\n[[rule]]\nname = "huch"\nclass = "other"\naction = "hold"\nsoftware = ["exim"]\nwith = ["huch"]\n'
    )
    mine = load(file)
    huch = attempt("rcpt", "550 Huch")
    assert diagnose(huch, software="exim", table=mine).action is Action.HOLD
    assert diagnose(huch, software="postfix", table=mine).rule == ""
    assert in_force(str(file)) == mine
    assert in_force("") is TABLE


def test_what_is_no_file_of_a_table_is_refused_by_name(tmp_path):
    long = tmp_path / "long.toml"
    long.write_bytes(b"#" * (LONGEST_TABLE + 1))
    strange = tmp_path / "strange.toml"
    strange.write_bytes(b"# \xff\n")
    for path, words in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "directory"),
        (long, "longer"),
        (strange, "utf-8"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            load(path)
        assert str(path) in str(caught.value)
