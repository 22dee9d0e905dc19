#!/bin/sh
# Makes the secrets that compose.yaml mounts, in deploy/secrets. Run as root, before the first `docker compose up`; what is
# there already stays as it is.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

# random BYTES: as hexadecimal digits.
random() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# make FILE OWNER TEXT
make() {
    [ -e "$1" ] || printf '%s\n' "$3" >"$1"
    chown "$2" "$1"
    chmod 400 "$1"
}

# Containers of Holdall run as this user, and take no secrets that others may read.
holdall=65532:65532
make grants.key $holdall "$(random 32)"
make delegation.key $holdall "$(random 32)"
for service in auth metadata blob; do
    make "$service.pgpass" $holdall "postgres:5432:$service:$service:$(random 24)"
done
make s3.access $holdall "GK$(random 12)"
make s3.secret $holdall "$(random 32)"
make postgres.password root:root "$(random 24)"
make garage.rpc root:root "$(random 32)"
make garage.env root:root "GARAGE_DEFAULT_ACCESS_KEY=$(cat s3.access)
GARAGE_DEFAULT_SECRET_KEY=$(cat s3.secret)"
