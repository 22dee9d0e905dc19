"""Uploads standard input to a path and reads it back: metadata says what may be done, blob has the bytes.

    python blob.py METADATA-ADDRESS BLOB-ADDRESS TOKEN PATH < FILE
"""

import sys

import grpc

from holdall.blob.v1 import blob_pb2, blob_pb2_grpc
from holdall.metadata.v1 import content_pb2, content_pb2_grpc, node_pb2

PIECE = 256 * 1024


def messages(grant, file):
    """The messages of a `Write`: a header, the bytes, and a finish, without which nothing is kept."""
    yield blob_pb2.WriteRequest(header=blob_pb2.WriteHeader(grant=grant))
    size = 0
    while piece := file.read(PIECE):
        size += len(piece)
        yield blob_pb2.WriteRequest(data=piece)
    yield blob_pb2.WriteRequest(finish=blob_pb2.WriteFinish(size=size))


def upload(content, blobs, authorization, path, file):
    """Makes the file, or a new version of it."""
    target = content_pb2.UploadTarget(path=path)
    begun = content.BeginUpload(content_pb2.BeginUploadRequest(target=target), metadata=authorization)
    receipt = blobs.Write(messages(begun.write_grant, file)).receipt
    commit = content_pb2.CommitUploadRequest(receipt=receipt, target=target)
    return content.CommitUpload(commit, metadata=authorization).node


def download(content, blobs, authorization, path):
    """The bytes of a file, piece by piece."""
    request = content_pb2.OpenContentRequest(ref=node_pb2.NodeRef(path=path))
    grant = content.OpenContent(request, metadata=authorization).read_grant
    for message in blobs.Read(blob_pb2.ReadRequest(grant=grant)):
        yield message.data


def main(metadata_address, blob_address, token, path):
    authorization = [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(metadata_address) as metadata, grpc.insecure_channel(blob_address) as blob:
        content = content_pb2_grpc.ContentServiceStub(metadata)
        blobs = blob_pb2_grpc.BlobServiceStub(blob)
        node = upload(content, blobs, authorization, path, sys.stdin.buffer)
        size = sum(len(piece) for piece in download(content, blobs, authorization, path))
        print(f"{node.name}: {size} bytes there and back")


if __name__ == "__main__":
    main(*sys.argv[1:])
