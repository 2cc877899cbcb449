"""Who runs a command, for the audit log."""

import getpass
import os

from fileroom_storage.index.audit.event import Actor


def command_actor() -> Actor:
    """The login that the command runs under, and who became root for it, as sudo tells."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    return Actor("command line", f"{name} ({before})" if before and before != name else name)
