"""What is raised when a method could not be called at all. What a method has to say, it returns."""


class HoldallError(Exception):
    """A call failed outside its method."""


class Unreachable(HoldallError):
    """The server could not be reached, or the connection broke. A call that writes may have happened or not."""


class Refused(HoldallError):
    """The server refused the call.

    `status` is the HTTP status: 400 for a call that is malformed, 401 for a token that is missing or wrong, 404 for what is
    not there, 413, 503 and 507 for what there is no room or time for. `code` names the reason for programs.
    """

    def __init__(self, status, code, message):
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
