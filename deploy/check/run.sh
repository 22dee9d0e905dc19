#!/usr/bin/env bash
# Checks what is in deploy/, with the programs that were built before.
#
#   deploy/check/run.sh [FOLDER OF THE PROGRAMS, else target/debug]
#
# Needs Go, Python with venv, and promtool (Debian: prometheus). Everything else comes through the Go module proxy and
# PyPI, into Go's caches and a temporary folder: some four minutes of two cores the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."

HELM_VERSION=v3.19.0
KUBE_SCORE_VERSION=v1.20.0
# Where the definitions of custom resources, and the schema of Compose files, come from.
GATEWAY_API=sigs.k8s.io/gateway-api@v1.3.0
PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator@v0.85.0
CERT_MANAGER=github.com/cert-manager/cert-manager@v1.18.2
COMPOSE=github.com/compose-spec/compose-go/v2@v2.9.0
# That of charts without a cluster: the newest that the schemas are asked about.
KUBERNETES_VERSION=1.33.0

binaries=${1:-target/debug}
export PATH="$PATH:/usr/local/go/bin"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

step() { printf -- '-- %s\n' "$*"; }

step "tools"
export GOBIN=$tools GOFLAGS="-p=2 -buildvcs=false"
go install "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" 2>"$tools/log" || { cat "$tools/log"; exit 1; }
go install "github.com/zegl/kube-score/cmd/kube-score@$KUBE_SCORE_VERSION" 2>"$tools/log" || { cat "$tools/log"; exit 1; }
python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0 pyyaml==6.0.4
module() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
mkdir "$tools/definitions"
cp "$(module $GATEWAY_API)/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" \
    "$(module $PROMETHEUS_OPERATOR)/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" \
    "$(module $CERT_MANAGER)/deploy/crds/crd-certificates.yaml" "$tools/definitions"
compose_schema=$(module $COMPOSE)/schema/compose-spec.json

step "chart"
chart=deploy/helm/holdall
renderings=()
for values in default: small:$chart/values/small.yaml production:$chart/values/production.yaml all:deploy/check/all.yaml; do
    name=${values%%:*} file=${values#*:}
    with=(--namespace holdall --kube-version "$KUBERNETES_VERSION" ${file:+--values "$file"})
    "$tools/helm" lint --strict --quiet "$chart" "${with[@]}"
    "$tools/helm" template holdall "$chart" "${with[@]}" >"$tools/$name.yaml"
    renderings+=("$name=$file=$tools/$name.yaml")
done
"$tools/python/bin/python" deploy/check/chart.py "$chart" "$binaries" "$tools/definitions" "${renderings[@]}"

# Left out: a limit on CPU slows a service down where nobody else wants the core; tags of a release do not change, and a
# digest cannot; constraints on the spread over nodes and zones do what anti-affinity is asked for.
"$tools/kube-score" score --output-format ci --exit-one-on-warning --ignore-container-cpu-limit \
    --ignore-test container-image-pull-policy,deployment-has-host-podantiaffinity \
    --enable-optional-test container-ports-check,container-seccomp-profile \
    "$tools/production.yaml" >"$tools/score" || { grep -v '^\[OK\]\|^\[SKIPPED\]' "$tools/score"; exit 1; }
printf 'kube-score: %s checks of the production values\n' "$(grep -c '^\[OK\]' "$tools/score")"

step "observability"
promtool check rules deploy/observability/alerts.yaml
promtool test rules deploy/observability/alerts.test.yaml
promtool check config --syntax-only deploy/observability/prometheus.yaml

step "everything else"
"$tools/python/bin/python" deploy/check/files.py "$compose_schema" "$binaries"
