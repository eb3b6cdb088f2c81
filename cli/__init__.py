"""The command line: `pillarbox`. It starts nodes and, as a client of `admin_api`, works on them."""
