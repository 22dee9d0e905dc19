#!/usr/bin/env bash
# Runs the tests of packs in a bucket against Garage. Not part of CI: it builds Garage, which takes its time and a C compiler.
#
#   services/blob/tests/bucket/garage.sh [more arguments for cargo test]
#
# HOLDALL_GARAGE names the program when it is there already. All else is in a temporary folder, and gone at the end.
set -euo pipefail
cd "$(dirname "$0")/../../../.."

GARAGE_VERSION=2.5.0

folder=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

garage=${HOLDALL_GARAGE:-}
if [ -z "$garage" ]; then
    RUSTFLAGS="" CARGO_TARGET_DIR="$folder/target" \
        cargo install --quiet --locked --root "$folder" "garage@$GARAGE_VERSION"
    garage=$folder/bin/garage
fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
api=$(free_port)
rpc=$(free_port)
cat >"$folder/garage.toml" <<TOML
metadata_dir = "$folder/meta"
data_dir = "$folder/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$(openssl rand -hex 32)"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$api"
root_domain = ".s3.garage.localhost"
TOML

run() { "$garage" -c "$folder/garage.toml" "$@"; }

run server >"$folder/log" 2>&1 &
server=$!
until node=$(run node id -q 2>/dev/null) && run status >/dev/null 2>&1; do
    kill -0 "$server" || { cat "$folder/log"; exit 1; }
    sleep 0.2
done
run layout assign -z here -c 10G "${node%%@*}"
run layout apply --version 1
run bucket create holdall
key=$(run key create tests)
run bucket allow --read --write holdall --key tests

HOLDALL_TEST_S3_ENDPOINT="http://127.0.0.1:$api"
HOLDALL_TEST_S3_BUCKET=holdall
HOLDALL_TEST_S3_REGION=garage
HOLDALL_TEST_S3_ACCESS_KEY=$(sed -n 's/^Key ID: *//p' <<<"$key")
HOLDALL_TEST_S3_SECRET_KEY=$(sed -n 's/^Secret key: *//p' <<<"$key")
export HOLDALL_TEST_S3_ENDPOINT HOLDALL_TEST_S3_BUCKET HOLDALL_TEST_S3_REGION
export HOLDALL_TEST_S3_ACCESS_KEY HOLDALL_TEST_S3_SECRET_KEY

cargo test --workspace --locked "$@" bucket_with
cargo test --workspace --locked "$@" replicas
