"""Lists the root folder at metadata, with an access token from auth.py.

    python metadata.py ADDRESS TOKEN
"""

import sys

import grpc

from holdall.metadata.v1 import node_pb2, node_pb2_grpc


def children(address, token):
    """The nodes in the root folder, page by page."""
    authorization = [("authorization", f"Bearer {token}")]
    request = node_pb2.ListChildrenRequest()
    with grpc.insecure_channel(address) as channel:
        nodes = node_pb2_grpc.NodeServiceStub(channel)
        while True:
            page = nodes.ListChildren(request, metadata=authorization)
            yield from page.children
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


if __name__ == "__main__":
    for node in children(*sys.argv[1:]):
        print(node.name + ("/" if node.kind == node_pb2.NODE_KIND_FOLDER else ""))
