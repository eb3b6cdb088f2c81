"""Sends mails by Django, in a process of its own: its settings hold for a whole process.

python django_mail.py '{"settings": {"EMAIL_HOST": …}, "subject", "text", "html", "files",
"mails": [{"to": […], "bcc": […]}]}'
"""

import json
import sys

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

told = json.loads(sys.argv[1])
settings.configure(**told["settings"])
with get_connection() as connection:
    for envelope in told["mails"]:
        mail = EmailMultiAlternatives(
            told["subject"], told["text"], connection=connection, **envelope
        )
        mail.attach_alternative(told["html"], "text/html")
        for path in told["files"]:
            mail.attach_file(path)
        print("sent", mail.send())
