"""Calls over HTTP."""

import http.client
import json
import os
import uuid
from collections import OrderedDict
from urllib.parse import quote, urlsplit

from .errors import Refused, Unreachable

DEFAULT_URL = "http://127.0.0.1:8080"
PIECE = 256 * 1024


class Connection:
    """Where the server is, and the token that it wants."""

    def __init__(self, url=None, token=None, timeout=60):
        self._url = urlsplit(url or os.environ.get("HOLDALL_URL") or DEFAULT_URL)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError("the URL of the server must start with http:// or https://")
        self._token = token or os.environ.get("HOLDALL_TOKEN") or ""
        self._timeout = timeout

    def call(self, name, **parameters):
        """Calls `<Class>/<method>` and gives what it returned. Parameters that are None are left out."""
        given = {key: value for key, value in parameters.items() if value is not None}
        body = json.dumps(given).encode()
        return self._result(self._send("POST", f"/storage/{name}", body, {"Content-Type": "application/json"}))

    def call_with_file(self, name, content, **parameters):
        """The same with content: bytes, a file opened for reading bytes, or an iterable of bytes, which is streamed."""
        boundary = uuid.uuid4().hex
        body = _form(boundary, parameters, content)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._result(self._send("POST", f"/storage/{name}", body, headers))

    def get(self, path, user_dir=None):
        """Reads a stored file; gives the answer, which is read like a file."""
        return self._send("GET", _stored(path, user_dir), None, {})

    def put(self, path, content, user_dir=None):
        """Replaces the content of a stored file."""
        body = content if isinstance(content, bytes) else _pieces(content)
        return self._result(self._send("PUT", _stored(path, user_dir), body, {}))

    def _send(self, method, path, body, headers):
        connection = self._connect()
        # One call each: the socket then belongs to the answer, and is closed with it.
        headers = dict(headers, Connection="close")
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None and not isinstance(body, bytes):
            headers["Transfer-Encoding"] = "chunked"
        try:
            try:
                connection.request(method, self._url.path.rstrip("/") + path, body, headers, encode_chunked=True)
            except (BrokenPipeError, ConnectionResetError):
                # The server answers before the end of a body that it refuses.
                pass
            response = connection.getresponse()
            if response.status != 200:
                with response:
                    raise _refusal(response)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"no answer from the server: {error}") from error
        except BaseException:
            connection.close()
            raise
        return response

    def _connect(self):
        url = self._url
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        return kind(url.hostname, url.port, timeout=self._timeout)

    @staticmethod
    def _result(response):
        try:
            with response:
                return json.loads(response.read(), object_pairs_hook=OrderedDict)["result"]
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the answer of the server broke off: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable("the answer is not that of a Holdall server") from error


def _refusal(response):
    try:
        body = json.loads(response.read())
        return Refused(response.status, str(body["code"]), str(body["error"]))
    except (ValueError, KeyError, TypeError):
        return Refused(response.status, "unknown", response.reason)


def _stored(path, user_dir):
    query = "" if user_dir is None else "?user_dir=" + quote(str(user_dir), safe="")
    return "/storage/files/" + quote(path.strip("/")) + query


def _form(boundary, parameters, content):
    """The parameters first: the server streams the file and must know where to."""
    for name, value in parameters.items():
        if value is not None:
            yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    yield f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'.encode()
    yield from _pieces(content)
    yield f"\r\n--{boundary}--\r\n".encode()


def _pieces(content):
    if isinstance(content, str):
        raise TypeError("content must be bytes, a file opened for reading bytes, or an iterable of bytes")
    if isinstance(content, (bytes, bytearray, memoryview)):
        whole = memoryview(content).cast("B")
        pieces = (whole[start : start + PIECE] for start in range(0, len(whole), PIECE))
    elif hasattr(content, "read"):
        pieces = iter(lambda: content.read(PIECE), b"")
    else:
        pieces = iter(content)
    # An empty piece would be the end of a chunked body.
    return (bytes(piece) for piece in pieces if len(piece))
