"""Files that go with a mail: where they are got from, kept a while, and put into the mail.

`prepare` makes a mail complete before it is first offered; `sources` bring the bytes, `cache` keeps
them, `large` is where files leave the mail for a link, and `offload` stores those.
"""
