"""SMTP submission: the door for printers, applications and mail programs.

listener: sockets, start and stop. connection: one client, its bytes, replies and limits. session:
the commands. content: what follows DATA. parameters, sasl, replies: pure. inbox: unread bytes.
connections: who is there. tls: the certificate.
"""

from relay.ingress.smtp.listener import SmtpListener
from relay.ingress.smtp.settings import Endpoint, SmtpSettings

__all__ = ["Endpoint", "SmtpListener", "SmtpSettings"]
