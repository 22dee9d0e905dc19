"""The stubs and the examples against the services as processes. Needs grpcio and grpcio-tools."""

import io
import sys
import tempfile
import unittest
from pathlib import Path

import grpc

import holdall
from servers import services

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "examples")]

import build_stubs  # noqa: E402


class GrpcTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="holdall-python-")
        cls.addClassCleanup(folder.cleanup)
        build_stubs.build(folder.name)
        holdall.__path__.append(str(Path(folder.name) / "holdall"))
        cls.auth, cls.metadata, cls.blob = services(
            folder.name, started=lambda server: cls.addClassCleanup(server.stop)
        )

    def test_the_examples_do_what_they_say(self):
        import auth
        import blob
        import metadata
        from holdall.auth.v1 import account_pb2, account_pb2_grpc
        from holdall.blob.v1 import blob_pb2_grpc
        from holdall.metadata.v1 import content_pb2_grpc

        with grpc.insecure_channel(self.auth.address) as channel:
            request = account_pb2.RegisterRequest(username="anna", password="a long password")
            account_pb2_grpc.AccountServiceStub(channel).Register(request)
        token = auth.sign_in(self.auth.address, "anna", "a long password")
        authorization = [("authorization", f"Bearer {token}")]
        data = bytes(range(256)) * 4096
        with grpc.insecure_channel(self.metadata.address) as first, grpc.insecure_channel(self.blob.address) as second:
            content = content_pb2_grpc.ContentServiceStub(first)
            blobs = blob_pb2_grpc.BlobServiceStub(second)
            node = blob.upload(content, blobs, authorization, "docs/data.bin", io.BytesIO(data))
            self.assertEqual(node.name, "data.bin")
            read = b"".join(blob.download(content, blobs, authorization, "docs/data.bin"))
            self.assertEqual(read, data)
        names = [node.name for node in metadata.children(self.metadata.address, token)]
        self.assertEqual(names, ["docs"])


if __name__ == "__main__":
    unittest.main()
