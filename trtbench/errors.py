"""UserError: what the person at the shell can mend."""


class UserError(ValueError):
    """The message names the key or flag, the value and the remedy; the CLI prints it alone and exits with 2."""
