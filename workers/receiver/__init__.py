"""Accepting mail: SMTP in, `received` out.

    data.py         the DATA decoder: chunks in, the message's bytes out
    incoming.py     a message while it comes in: decoder, draft and limits together
    parameters.py   the parameters of MAIL and RCPT
    session.py      what is remembered of a connection and of a transaction
    protocol.py     the reading loop on aiosmtpd's SMTP: commands, pipelining, back-pressure, STARTTLS
    handler.py      what is answered: aiosmtpd's hooks
    tls.py          the certificate
    server.py       listening and closing

Two rules: 250 to the final dot is said only after the intake has returned, and whatever is not understood or not
foreseen gets a 4xx or 5xx of `pipeline.replies`, never a text made on the spot.
"""

from workers.receiver.server import Server, serve

__all__ = ["Server", "serve"]
