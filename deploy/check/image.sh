#!/usr/bin/env bash
# Builds the image by its Dockerfile where no registry can be reached, and starts it. Not part of CI: it compiles everything
# for a release, which takes some twenty minutes of two cores.
#
#   deploy/check/image.sh        as root, on Debian 12 with buildah, debootstrap and Rust (rustup)
#
# buildah runs steps in a chroot, so it works in a container or a small virtual machine too, where podman may not. The two
# images that the Dockerfile begins with are made from Debian's packages: the one with the compiler by debootstrap,
# with the toolchain of this machine mounted; the one for the result from the same three packages as distroless/cc, so
# without a shell. Everything is in a temporary folder, and gone at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait
    buildah "${store[@]}" rm --all >/dev/null 2>&1 || true
    # What buildah, and a debootstrap that was broken off, leave mounted.
    umount "$work/store/overlay" "$work/builder/proc" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
store=(--root "$work/store" --runroot "$work/run" --storage-driver overlay)
trap finish EXIT
export BUILDAH_ISOLATION=chroot

step() { printf '== %s (%s s)\n' "$*" "$SECONDS"; }

# image NAME ROOT ENVIRONMENT: an image of one layer.
image() {
    local container
    container=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add --quiet "$container" "$2" / >/dev/null
    buildah "${store[@]}" config --env "$3" "$container"
    buildah "${store[@]}" commit --quiet "$container" "$1" >/dev/null
    buildah "${store[@]}" rm "$container" >/dev/null
}

step "the image with the compiler"
debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,make bookworm "$work/builder" >"$work/log" || { cat "$work/log"; exit 1; }
rm -rf "$work/builder/var/cache/apt" "$work/builder/var/lib/apt/lists"
image builder "$work/builder" PATH=/root/.cargo/bin:/usr/bin:/bin
rm -rf "$work/builder"

step "the image for the result"
mkdir -p "$work/packages" "$work/base/etc/ssl/certs" "$work/base/tmp"
(cd "$work/packages" && apt-get -o APT::Sandbox::User=root download -qq libc6 libgcc-s1 ca-certificates)
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$work/base"; done
cat "$work"/base/usr/share/ca-certificates/mozilla/*.crt >"$work/base/etc/ssl/certs/ca-certificates.crt"
chmod 1777 "$work/base/tmp"
image base "$work/base" PATH=/usr/bin

step "the Dockerfile"
buildah "${store[@]}" build --quiet --format docker --layers --file deploy/Dockerfile --tag holdall \
    --build-arg BUILDER=localhost/builder --build-arg BASE=localhost/base --build-arg REVISION="$(git rev-parse HEAD)" \
    --volume "$HOME/.cargo:/root/.cargo" --volume "$HOME/.rustup:/root/.rustup:ro" . >/dev/null

step "what is in it"
container=$(buildah "${store[@]}" from localhost/holdall)
root=$(buildah "${store[@]}" mount "$container")
inside=(chroot --userspec=65532:65532 "$root")
for name in holdall-gateway holdall-auth holdall-metadata holdall-blob holdall; do
    "${inside[@]}" "/usr/bin/$name" --version
done
[ ! -e "$root/bin/sh" ] && [ ! -e "$root/usr/bin/sh" ] || { echo "there is a shell"; exit 1; }
[ "$(stat -c %u:%g "$root/var/lib/holdall")" = 65532:65532 ] || { echo "the volume belongs to somebody else"; exit 1; }
buildah "${store[@]}" inspect --format '{{.Docker.Config.Healthcheck.Test}}' --type image localhost/holdall
echo
du -sh --apparent-size "$root"

step "it starts, is healthy, takes a file, and stops"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
public=$(free_port)
admin=$(free_port)
HOLDALL_SERVER__LISTEN=127.0.0.1:$public HOLDALL_ADMIN__LISTEN=127.0.0.1:$admin \
    "${inside[@]}" /usr/bin/holdall-gateway --config /etc/holdall/gateway.toml >"$work/log" 2>&1 &
server=$!
until grep -q 'listening on' "$work/log"; do kill -0 "$server" || { cat "$work/log"; exit 1; }; sleep 0.2; done
curl -sSf "http://127.0.0.1:$admin/readyz"
"${inside[@]}" /usr/bin/holdall-gateway healthcheck --url "http://127.0.0.1:$admin/readyz"
api=http://127.0.0.1:$public/api/v1
curl -sSf --json '{"username": "ada", "password": "correct horse battery"}' "$api/accounts" >/dev/null
token=$(curl -sSf --json '{"username": "ada", "password": "correct horse battery"}' "$api/sessions" |
    sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
echo text | curl -sSf -H "Authorization: Bearer $token" -T - "$api/fs/text.txt" >/dev/null
[ "$(curl -sSf -H "Authorization: Bearer $token" "$api/fs/text.txt")" = text ]
kill "$server"
wait "$server"
server=
step "done"
