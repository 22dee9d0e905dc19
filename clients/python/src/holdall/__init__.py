"""Holdall from Python: the classes of the File storage API.

The stubs of the gRPC services are in `holdall.auth.v1`, `holdall.metadata.v1` and `holdall.blob.v1`, where the package was
built with them.
"""

from .errors import HoldallError, Refused, Unreachable
from .register_and_login import LogIn, Register
from .usersdata import UsersData

__all__ = ["HoldallError", "LogIn", "Refused", "Register", "Unreachable", "UsersData"]
