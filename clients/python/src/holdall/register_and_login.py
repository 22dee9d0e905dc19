"""The classes `Register` and `LogIn`.

Passwords are crypt strings that the caller has made. What goes wrong in a method is returned as a sentence, as it always
was; what keeps a method from being called is raised, see `holdall.errors`.
"""

from ._connection import Connection


class _Class:
    """`url` and `token` are those of the server, or else those in HOLDALL_URL and HOLDALL_TOKEN."""

    def __init__(self, url=None, token=None, timeout=60):
        self._connection = Connection(url, token, timeout)

    def _call(self, method, **parameters):
        return self._connection.call(f"{type(self)._name}/{method}", **parameters)


class Register(_Class):
    """Registers users and tells what they were registered with."""

    _name = "Register"

    def add_user(self, username, email, password, tracking):
        """Registers a user: "ok", or a sentence."""
        return self._call("add_user", username=username, email=email, password=password, tracking=tracking)

    def get_user_id(self, username):
        """The number of the user, or a sentence."""
        return self._call("get_user_id", username=username)

    get_id_user = get_user_id

    def get_tracking(self, username):
        """What was given as `tracking`, or a sentence."""
        return self._call("get_tracking", username=username)

    def del_user(self, username):
        """Deletes the user with all files; says so, or that there is none."""
        return self._call("del_user", username=username)


class LogIn(_Class):
    """Identifies users and changes their data."""

    _name = "LogIn"

    def login_user(self, username):
        """ "ok" for a user that there is, else "bad"."""
        return self._call("login_user", username=username)

    def get_user_id(self, username):
        """The number of the user, or a sentence."""
        return self._call("get_user_id", username=username)

    def get_pwd(self, username):
        """The crypt string that was given last, or "bad"."""
        return self._call("get_pwd", username=username)

    def change_password(self, username, user_id, password):
        """Replaces the crypt string: None, or a sentence. Sessions of the user end."""
        return self._call("change_password", username=username, user_id=user_id, password=password)

    def del_user(self, username, user_id):
        """Deletes the user with all files: None, also when there is none."""
        return self._call("del_user", username=username, user_id=user_id)

    def change_email(self, username, user_id, new_email):
        """Replaces the e-mail address: None, or a sentence."""
        return self._call("change_email", username=username, user_id=user_id, new_email=new_email)
