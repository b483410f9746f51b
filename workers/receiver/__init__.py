"""Accepting mail: SMTP in, `received` out.

    data.py         the DATA decoder: chunks in, the message's bytes out
    incoming.py     a message while it comes in: decoder, draft and limits together
    parameters.py   the parameters of MAIL and RCPT
    session.py      what is remembered of a connection and of a transaction
    common.py       what all connections share
    connection.py   the transport's side on aiosmtpd's SMTP: reading, writing, back-pressure, time
    proxy.py        PROXY headers
    guard.py        how much a session and its client may ask for
    arrival.py      from the connection to the greeting
    protocol.py     the commands and STARTTLS
    handler.py      what is answered: aiosmtpd's hooks
    recipients.py   who is a recipient
    greylisting.py  who has to come again
    hops.py         counting Received lines, against loops
    loops.py        what becomes of a domain whose server sends mail back
    refusals.py     writing down what did not get in
    report.py       telling the operator about the unforeseen
    tls.py          the certificate
    server.py       listening and closing
    role.py         a receiver process

Two rules: 250 to the final dot is said only after the intake has returned, and whatever is not understood or not
foreseen gets a 4xx or 5xx of `pipeline.replies`, never a text made on the spot.
"""

from workers.receiver.server import Parts, Server, serve

__all__ = ["Parts", "Server", "serve"]
