"""Servers for the tests, in folders of their own.

HOLDALL_GATEWAY names the program of the gateway, `target/debug/holdall-gateway` by default; the programs of the services are
looked for beside it.
"""

import os
import re
import secrets
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GATEWAY = Path(os.environ.get("HOLDALL_GATEWAY") or ROOT / "target" / "debug" / "holdall-gateway")
TOKEN = "service-token-of-the-python-tests"

_LISTENING = re.compile(r"listening on (\w+://\S+)")


class Server:
    """A process that has said where it listens; ends with the context."""

    def __init__(self, program, settings):
        self._folder = tempfile.TemporaryDirectory(prefix="holdall-python-")
        arguments = [GATEWAY.with_name(program), "--listen", "127.0.0.1:0", "--data-dir", self._folder.name]
        environment = dict(os.environ, **{f"HOLDALL_{name}": value for name, value in settings.items()})
        self._process = subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        # Whatever comes first: the line, or the end of a process that could not start.
        found = next((match for line in self._process.stdout if (match := _LISTENING.search(line))), None)
        if found is None:
            self.stop()
            raise RuntimeError(f"{program} did not start")
        self.url = found[1]

    @property
    def address(self):
        """For a gRPC channel."""
        return self.url.partition("://")[2]

    def stop(self):
        self._process.terminate()
        self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()


def gateway():
    """Everything in one process."""
    settings = {"COMPAT__FILE_STORAGE_API__SERVICE_TOKEN": TOKEN, "RATE_LIMITS__ENABLED": "false"}
    return Server("holdall-gateway", settings)


def services(folder, started):
    """auth, metadata and blob as processes, for direct calls. The key that two of them share goes into `folder`; `started`
    is told of each that runs.
    """
    key = Path(folder) / "grant.key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32))
    keys = f'["{key}"]'

    def start(program, settings):
        server = Server(program, settings)
        started(server)
        return server

    auth = start("holdall-auth", {})
    metadata = start("holdall-metadata", {"AUTH__URL": auth.url, "METADATA__GRANTS__KEY_FILES": keys})
    return auth, metadata, start("holdall-blob", {"BLOB__GRANTS__KEY_FILES": keys})
