"""`pillarbox-sendmail`: sendmail(8) for cron, PHP, git, mutt and scripts, in front of a relay.

A caller starts one process a mail, so that this imports the standard library only, and of it what a
mail's way needs (no dataclasses: they read source, and load a tenth of it all for that). It keeps
nothing: a mail is with the relay when it ends with 0, and else still with the caller, who is told
by a code of sysexits.h whether to try again.

options: what callers say. letter: the mail. settings: where the relay is. by_socket, by_smtp: the
two ways to it. dialogue: SMTP on standard input and output (-bs). program: all of it in order.
"""
