"""Whole sentences of mail programs: each says one thing and says it exactly."""

MAILERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Postfix
    ("undefined", ("delivery report unavailable",)),
    ("networkerror", ("host not found, try again", "host name lookup failure, try again")),
    ("networkerror", ("mail for * loops back to myself",)),
    ("notaccept", ("does not accept mail (nullmx)", "domain * does not accept mail (nullmx)")),
    # Exim
    ("notaccept", ("mx or srv record indicated no smtp service",)),
    ("hostunknown", ("the account or domain may not exist",)),
    (
        "hostunknown",
        ("all relevant mx records point to non-existent hosts", "unrouteable mail domain"),
    ),
    ("networkerror", ("lowest numbered mx record points to local host",)),
    ("networkerror", ("all host address lookups failed permanently",)),
    ("userunknown", ("unrouteable address", "unknown local-part", "unknown user: ")),
    ("userunknown", ("user * does not exist. possibly misspelled",)),
    ("suspend", ("mailbox is frozen", "this account has been disabled or discontinued")),
    ("blocked", ("please use the smtp server of your isp",)),
    ("requireptr", ("permits * unverifyable sending ips",)),
    ("suspend", ("due to inactivity", "for inactivity")),
    # qmail, vpopmail, netqmail
    ("userunknown", ("sorry, no mailbox here by that name", "no mailbox here by that name")),
    ("userunknown", ("this address no longer accepts mail",)),
    (
        "hostunknown",
        ("sorry, i couldn't find any host named", "couldn't find any host by that name"),
    ),
    ("notaccept", ("couldn't find a mail exchanger or ip address",)),
    ("networkerror", ("wasn't able to establish an smtp connection",)),
    ("networkerror", ("sorry. although i'm listed as a best-preference mx",)),
    ("networkerror", ("this message is looping: it already has my delivered-to line",)),
    ("systemerror", ("unable to contact ldap server", "cname lookup failed temporarily")),
    ("systemerror", ("uh-oh: home directory is writable", "unable to chdir to maildir")),
    ("mailererror", ("unable to forward message", "qmail-command: ")),
    ("mailboxfull", ("user is over quota", "account is over quota", "this mailbox is over quota")),
    # sendmail and its programs
    ("mailererror", ("procmail: couldn't create", "procmail: lock failure")),
    ("hostunknown", ("host unknown (authoritative answer from name server)",)),
    ("notaccept", ("null mx",)),
    (
        "networkerror",
        ("too many hops", "mx list for * points back to", "local configuration error"),
    ),
    ("systemerror", ("aliasing/forwarding loop broken",)),
    # Exchange, Domino, Notes, GroupWise
    ("userunknown", ("the recipient name is not recognized", "msexch:ims:* unknown recipient")),
    (
        "userunknown",
        ("recipient address rejected: access denied", "not listed in domino directory"),
    ),
    ("userunknown", ("not listed in public name & address book", "ディレクトリには見つかりません")),
    ("userunknown", ("the e-mail account does not exist at the organization",)),
    ("userunknown", ("the email account does not exist at the organization",)),
    ("userunknown", ("several matches found in domino directory",)),
    ("hostunknown", ("the recipient's destination email system is unknown or invalid",)),
    ("notaccept", ("the recipient was unavailable to take delivery",)),
    ("rejected", ("you do not have permission to send to this recipient",)),
    ("filtered", ("reached the recipient's e-mail system, but delivery was refused",)),
    ("systemerror", ("a configuration error in the e-mail system",)),
    ("networkerror", ("due to a communications failure", "no route found to domain")),
    ("contenterror", ("contains a content type that is not supported",)),
    ("mailboxfull", ("router: database disk quota exceeded", "in recipient's mailbox exceeded")),
    ("mailboxfull", ("the recipient's mailbox is full", "mailbox is full and can't accept")),
    ("mesgtoobig", ("the message size exceeds the recipient's size limit", "msg too large")),
    ("expired", ("delivery time expired", "there was a smtp communication problem * retr")),
    ("expired", ("no response from the server", "could not deliver the message in the time limit")),
    ("networkerror", ("router: unable to open mailbox file", "cannot route mail to user")),
    ("networkerror", ("error transferring to * maximum hop count exceeded",)),
    # OpenSMTPD, DragonFly, James
    ("expired", ("envelope expired",)),
    ("networkerror", ("network error on destination mxs",)),
    ("networkerror", ("no mx record found * loop detected", "envelope loop")),
    # MMS gateways
    ("userunknown", ("no valid recipients for this mm",)),
    # m-FILTER, au, docomo
    ("filtered", ("each of the following recipients was rejected by a remote mail server",)),
    ("suspend", ("the user(s) account is disabled", "the user(s) account is temporarily")),
    ("suspend", ("user unknown (suspended)",)),
    # MXLogic, Yahoo's first mailers
    ("filtered", ("this user doesn't have a * account (@)",)),
)
