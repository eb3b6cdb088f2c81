from pydantic import BaseModel

from relay.config.explained import explained


class Mail(BaseModel):
    subject: str
    """What it is
    about.
    """
    size_bytes: int = 0
    to: str
    """Who has it."""


class Urgent(Mail):
    to: str
    """Who has it now."""
    by: str = ""
    """When."""


def test_the_text_under_a_field_explains_it() -> None:
    assert explained(Mail) == {"subject": "What it is\nabout.", "to": "Who has it."}


def test_a_class_has_the_texts_of_those_it_stands_on() -> None:
    texts = {"subject": "What it is\nabout.", "to": "Who has it now.", "by": "When."}
    assert explained(Urgent) == texts
