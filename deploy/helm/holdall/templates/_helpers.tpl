{{/* What the names of all objects start with. */}}
{{- define "holdall.fullname" -}}
{{ .Values.fullname | default .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The services of the shape: what each is called by (port), reads from (database), shares (keys) and calls. */}}
{{- define "holdall.services" -}}
{{- if eq .Values.shape "single" -}}
gateway: {port: 8080, protocol: http, keys: [], calls: []}
{{- else -}}
gateway: {port: 8080, protocol: http, keys: [delegation], calls: [auth, metadata, blob], may: {}}
auth: {port: 7001, protocol: grpc, keys: [delegation, signing], calls: [], may: {}, database: HOLDALL_AUTH__DATABASE__URL}
metadata: {port: 7002, protocol: grpc, keys: [grants], calls: [auth], may: {auth: [holdall.auth.v1.KeyService]}, database: HOLDALL_METADATA__DATABASE__URL}
blob: {port: 7003, protocol: grpc, keys: [grants, s3, encryption], calls: [metadata], may: {metadata: [holdall.metadata.v1.RootsService]}, database: HOLDALL_BLOB__INDEX__URL}
{{- end -}}
{{- end }}

{{- define "holdall.selector" -}}
app.kubernetes.io/name: holdall
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "holdall.labels" -}}
{{ include "holdall.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "holdall.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Pod Security "restricted", of a pod and of its containers. */}}
{{- define "holdall.podSecurity" -}}
automountServiceAccountToken: false
# Variables such as HOLDALL_AUTH_PORT, which Kubernetes would make of Services, are nobody's configuration.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "holdall.containerSecurity" -}}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The name of a service, which its certificate has too: (dict "root" $ "name" NAME) */}}
{{- define "holdall.host" -}}
{{ printf "%s-%s.%s.svc" (include "holdall.fullname" .root) .name .root.Release.Namespace }}
{{- end }}

{{/* How a service is called: (dict "root" $ "callee" NAME "tls" BOOL) */}}
{{- define "holdall.upstream" -}}
{{- $services := include "holdall.services" .root | fromYaml }}
{{- $host := include "holdall.host" (dict "root" .root "name" .callee) }}
{{ .callee }}.url: {{ ternary "https" "http" .tls }}://{{ $host }}:{{ (get $services .callee).port }}
{{- if .tls }}
{{ .callee }}.ca_file: /etc/holdall/tls/ca.crt
{{ .callee }}.cert_file: /etc/holdall/tls/tls.crt
{{ .callee }}.key_file: /etc/holdall/tls/tls.key
{{- end }}
{{- end }}

{{/* The key files of a kind, as a list in TOML and YAML: (dict "root" $ "kind" KIND) */}}
{{- define "holdall.keyFiles" -}}
{{- $files := list }}
{{- range (get .root.Values.secrets .kind).keys }}
{{- $files = append $files (printf "/etc/holdall/%s/%s" $.kind .) }}
{{- end }}
{{- $files | toJson }}
{{- end }}

{{/* What the configuration of one service alone has in it. */}}
{{- define "holdall.keys.gateway" -}}
{{- if .Values.publicUrl }}
public.url: {{ .Values.publicUrl }}
{{- end }}
public.trusted_proxies: {{ .Values.trustedProxies | toJson }}
# All connections come from the few addresses of the proxies.
server.limits.max_connections_per_source: 8192
{{- if eq .Values.shape "services" }}
auth.delegation.key_files: {{ include "holdall.keyFiles" (dict "root" . "kind" "delegation") }}
{{- end }}
{{- end }}

{{- define "holdall.keys.auth" -}}
auth.database.migrate: false
auth.delegation.key_files: {{ include "holdall.keyFiles" (dict "root" . "kind" "delegation") }}
auth.signing.keys_dir: /etc/holdall/signing
auth.signing.rotate: false
{{- end }}

{{- define "holdall.keys.metadata" -}}
metadata.database.migrate: false
metadata.grants.key_files: {{ include "holdall.keyFiles" (dict "root" . "kind" "grants") }}
{{- end }}

{{- define "holdall.keys.blob" -}}
blob.index.migrate: false
blob.grants.key_files: {{ include "holdall.keyFiles" (dict "root" . "kind" "grants") }}
{{- if .Values.secrets.encryption.name }}
blob.encryption.key_files: {{ include "holdall.keyFiles" (dict "root" . "kind" "encryption") }}
{{- end }}
blob.packs.store: s3
{{- with .Values.s3 }}
{{- if .endpoint }}
blob.s3.endpoint: {{ .endpoint }}
{{- end }}
blob.s3.region: {{ .region }}
blob.s3.bucket: {{ .bucket }}
blob.s3.prefix: {{ .prefix | quote }}
blob.s3.allow_http: {{ .allowHttp }}
{{- end }}
blob.s3.access_key_file: /etc/holdall/s3/{{ .Values.secrets.s3.accessKey }}
blob.s3.secret_key_file: /etc/holdall/s3/{{ .Values.secrets.s3.secretKey }}
{{- end }}

{{/* The configuration file of a service: (dict "root" $ "name" NAME "tls" BOOL). Every key by its full name, one a line,
     so that `config` of the values can replace any. */}}
{{- define "holdall.config" -}}
{{- $root := .root }}
{{- $service := get (include "holdall.services" $root | fromYaml) .name }}
{{- $keys := include (printf "holdall.keys.%s" .name) $root | fromYaml }}
{{- range $service.calls }}
{{- range $key, $value := include "holdall.upstream" (dict "root" $root "callee" . "tls" $.tls) | fromYaml }}
{{- $_ := set $keys $key $value }}
{{- end }}
{{- end }}
{{- $_ := set $keys "server.listen" (printf "0.0.0.0:%v" $service.port) }}
{{- if eq $service.protocol "grpc" }}
{{- /* New pods get their share when connections are made anew. */}}
{{- $_ := set $keys "server.limits.max_connection_age" "5m" }}
{{- end }}
{{- if and .tls (eq $service.protocol "grpc") }}
{{- $_ := set $keys "server.tls.cert_file" "/etc/holdall/tls/tls.crt" }}
{{- $_ := set $keys "server.tls.key_file" "/etc/holdall/tls/tls.key" }}
{{- $_ := set $keys "server.tls.client_ca_file" "/etc/holdall/tls/ca.crt" }}
{{- range $caller, $_ := include "holdall.services" $root | fromYaml }}
{{- if has $.name .calls }}
{{- $host := include "holdall.host" (dict "root" $root "name" $caller) }}
{{- $_ := set $keys (printf "server.tls.client_calls.%q" $host) (get .may $.name | default (list "*")) }}
{{- end }}
{{- end }}
{{- end }}
{{- $_ := set $keys "admin.listen" "0.0.0.0:9090" }}
{{- $_ := set $keys "data.dir" "/var/lib/holdall" }}
{{- $_ := set $keys "telemetry.log" $root.Values.telemetry.log }}
{{- $_ := set $keys "telemetry.format" "json" }}
{{- with $root.Values.telemetry.otlpEndpoint }}
{{- $_ := set $keys "telemetry.otlp_endpoint" . }}
{{- end }}
{{- $_ := set $keys "shutdown.drain" (printf "%vs" $root.Values.shutdown.drainSeconds) }}
{{- $_ := set $keys "shutdown.timeout" (printf "%vs" $root.Values.shutdown.timeoutSeconds) }}
{{- range $key, $value := (get $root.Values .name).config }}
{{- $_ := set $keys $key $value }}
{{- end }}
{{- range $key, $value := $keys }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}
