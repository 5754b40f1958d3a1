"""How shapes and types are checked in tests: by beartype, an int being good enough where a float is asked for."""

import beartype

check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
