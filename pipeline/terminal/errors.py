"""The one kind of exception that is shown to a person as a sentence."""


class UserError(Exception):
    """Something that the person at the keyboard can put right.

    The message says key or path, rule, value received, and what to do. Shown without a traceback, exit status 1.
    """
