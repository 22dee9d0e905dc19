"""Signs in at auth and prints the access token that the other services want.

    python auth.py ADDRESS USERNAME PASSWORD
"""

import sys

import grpc

from holdall.auth.v1 import session_pb2, session_pb2_grpc


def sign_in(address, username, password):
    """An access token; it lives for some minutes."""
    with grpc.insecure_channel(address) as channel:
        sessions = session_pb2_grpc.SessionServiceStub(channel)
        request = session_pb2.CreateSessionRequest(
            login=username,
            password=password,
            kind=session_pb2.SESSION_KIND_API,
            device_name="Python example",
        )
        return sessions.CreateSession(request).access_token.token


if __name__ == "__main__":
    print(sign_in(*sys.argv[1:]))
