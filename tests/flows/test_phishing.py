"""Through the whole gateway: who uses the name of the domain's people or of a brand is kept back, and the trace says why."""

from __future__ import annotations

from tests.support.servers import wait_until

CHIEF = "Thomas Müller"


def message(sender: str, recipient: str, text: str) -> bytes:
    fields = (
        f"From: {sender}",
        f"To: {recipient}",
        "Subject: =?utf-8?q?Kurze_Frage?=",
        "Date: Mon, 23 Nov 2026 09:58:00 +0000",
        "Message-ID: <1@elsewhere.test>",
    )
    return "\r\n".join((*fields, "Content-Type: text/plain; charset=utf-8", "", text, "")).encode()


def kept(running, message_id: str) -> list[dict]:
    wait_until(lambda: "Scanned" in running.kinds(message_id), within=20, what="a verdict")
    found = next(event for event in running.message_events()[message_id] if type(event).__name__ == "Scanned")
    return (
        [] if found.verdict == "clean" else [{"verdict": found.verdict, "names": {one.name for one in found.findings}}]
    )


def test_a_protected_name_with_a_wish_for_gift_cards_is_kept(running, domain):
    running.cli("domain", "set", domain, "--protect-name", CHIEF)
    recipient = f"anna@{domain}"
    text = "Bist du verfügbar? Besorge bitte dringend fünf Geschenkkarten und schick mir die Codes auf der Rückseite."

    def scanned() -> list[dict]:
        # Workers learn of a change of the directory within a second.
        return kept(running, running.send(message(f"{CHIEF} <boss@freemail.example>", recipient, text), recipient))

    found = scanned()
    if not found or "FROM_PROTECTED_NAME" not in found[0]["names"]:
        wait_until(
            lambda: "FROM_PROTECTED_NAME" in (scanned() or [{"names": ()}])[0]["names"],
            within=20,
            what="the name to be protected",
        )
        found = scanned()
    assert found[0]["verdict"] == "spoof"


def test_the_name_of_somebody_in_the_directory_is_noticed_and_the_message_is_delivered(running, domain):
    running.cli("address", "add", f"anna.schmidt@{domain}")
    recipient = f"ben@{domain}"
    message_id = running.send(message("Anna Schmidt <anna@freemail.example>", recipient, "Bis morgen!"), recipient)
    assert kept(running, message_id) == []
    scanned = next(event for event in running.message_events()[message_id] if type(event).__name__ == "Scanned")
    assert "FROM_PERSON" in {one.name for one in scanned.findings}
    assert any(engine.startswith("people/") for engine in scanned.engines)


def test_a_brand_that_leads_elsewhere_is_kept(running, domain):
    recipient = f"anna@{domain}"
    text = "Bestätigen Sie Ihre Daten umgehend, sonst wird Ihr Konto gesperrt: https://paypal.com.konto-abgleich.example/login"
    message_id = running.send(message("PayPal Service <service@zahlung.example>", recipient, text), recipient)
    found = kept(running, message_id)
    assert found[0]["verdict"] == "phishing"
    assert {"FROM_BRAND", "LINK_BEGINS_LIKE", "BRAND_PHISHING"} <= found[0]["names"]
