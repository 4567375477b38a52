"""A mail server that keeps what it receives: prints its port, then one line of JSON per message.

Usage: smtp_sink.py none|starttls|tls [certificate key [user password]]
It ends when its input is closed.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, *rest = sys.argv[1:]
context = None
if mode != "none":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(rest[0], rest[1])
account = tuple(part.encode() for part in rest[2:4])


class Sink:
    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        message = email.message_from_bytes(raw, policy=email.policy.default)
        bodies = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "authenticated": bool(session.authenticated),
            "kind": message.get_content_type(),
            "headers": [[name, str(value)] for name, value in message.items()],
            "text": bodies.get("text/plain"),
            "html": bodies.get("text/html"),
            "size": len(raw),
        }), flush=True)
        if "later@example.org" in envelope.rcpt_tos:
            return "451 4.3.0 come back later"
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == "nobody@example.org":
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def check(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == account, handled=False)


def protocol():
    return SMTP(
        Sink(),
        enable_SMTPUTF8=True,
        tls_context=context if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        authenticator=check if account else None,
        auth_required=bool(account),
        auth_require_tls=mode == "starttls",
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
