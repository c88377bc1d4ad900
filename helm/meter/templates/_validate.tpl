{{/*
What the schema cannot see: values that do not go together. Each check below prints a line for each thing that is
wrong, and all of them are told at once. A line names both ends.
*/}}

{{- define "meter.validate" -}}
{{- $wrong := list }}
{{- range list "config" "ledger" "probes" "drain" "replicas" "ways" "apis" }}
{{- $wrong = concat $wrong (include (printf "meter.wrong.%s" .) $ | splitList "\n") }}
{{- end }}
{{- $told := list }}
{{- range $wrong }}{{ with trim . }}{{ $told = append $told (printf "  - %s" .) }}{{ end }}{{ end }}
{{- with $told }}{{ fail (printf "these values do not work:\n%s" (join "\n" .)) }}{{ end }}
{{- end }}

{{- define "meter.wrong.config" }}
{{- range $name, $_ := .Values.priceFiles }}
{{- if or (eq $name "meter.yaml") (not (regexMatch `^[-._a-zA-Z0-9]+\.ya?ml$` $name)) }}
priceFiles has {{ $name }}: expected a name such as prices.yaml, and not that of config, meter.yaml
{{- end }}
{{- end }}
{{- $places := dict "host" "listen" "admin_host" "listen" "port" "containerPorts.http" "admin_port" "containerPorts.admin" "tls" "tls.existingSecret" "admin.token" "existingSecrets.adminToken" "ledger.url" "ledger.store" }}
{{- range $path, $value := $places }}
{{- $parts := splitList "." $path }}
{{- $node := get $.Values.config (first $parts) }}
{{- if and (gt (len $parts) 1) (kindIs "map" $node) }}{{ $node = get $node (last $parts) }}
{{- else if gt (len $parts) 1 }}{{ $node = "" }}{{ end }}
{{- if $node }}
config.{{ $path }} is set in config, which anybody may read and the chart would contradict: set {{ $value }} instead
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.wrong.ledger" }}
{{- $store := .Values.ledger.store }}
{{- $given := list }}
{{- if .Values.ledger.url }}{{ $given = append $given "ledger.url" }}{{ end }}
{{- range $name := list "ledgerUrl" "ledgerPassword" }}
{{- if (get $.Values.existingSecrets $name).name }}{{ $given = append $given (printf "existingSecrets.%s" $name) }}{{ end }}
{{- end }}
{{- if eq $store "postgresql" }}
{{- if not (or (has "ledger.url" $given) (has "existingSecrets.ledgerUrl" $given)) }}
ledger.store is postgresql, and neither existingSecrets.ledgerUrl.name nor ledger.url says which
{{- end }}
{{- if and (has "ledger.url" $given) (has "existingSecrets.ledgerUrl" $given) }}
ledger.url and existingSecrets.ledgerUrl are both set: one of them is the ledger's URL
{{- end }}
{{- if and (has "existingSecrets.ledgerPassword" $given) (not (has "ledger.url" $given)) }}
existingSecrets.ledgerPassword belongs to ledger.url, which is empty
{{- end }}
{{- else if $given }}
{{ join ", " $given }} is set and ledger.store is {{ $store }}: expected postgresql
{{- end }}
{{- if regexMatch "^[^/]*//[^/@]*:[^/]*@|[?&]password=" .Values.ledger.url }}
ledger.url has a password, which anybody may read: put it into existingSecrets.ledgerPassword, or the whole URL into existingSecrets.ledgerUrl
{{- end }}
{{- if eq $store "volume" }}
{{- if gt (include "meter.mostReplicas" . | int) 1 }}
{{ ternary "autoscaling.maxReplicas" "replicaCount" .Values.autoscaling.enabled }} is {{ include "meter.mostReplicas" . }} and ledger.store is volume, where SQLite is written by one pod: set 1, or ledger.store to postgresql
{{- end }}
{{- if not (has (dig "type" "Recreate" .Values.updateStrategy) (list "Recreate")) }}
updateStrategy.type is {{ .Values.updateStrategy.type }} and ledger.store is volume, which two pods would write to: expected Recreate
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.wrong.probes" }}
{{- range $page, $probes := dict "healthz" "startupProbe and livenessProbe" "readyz" "readinessProbe" }}
{{- if not (has $page (include "meter.public" $ | splitList " ")) }}
config.admin.public lacks {{ $page }}, which {{ $probes }} ask without a token
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.wrong.drain" }}
{{- $grace := .Values.terminationGracePeriodSeconds }}
{{- if not (include "meter.drain" .) }}
config.timeouts.drain is {{ .Values.config.timeouts.drain }}: expected a duration such as 30s, 5m, 1h
{{- else if and (not (kindIs "invalid" $grace)) (lt (int64 $grace) (include "meter.leastGrace" . | int64)) }}
terminationGracePeriodSeconds is {{ $grace }}, less than the {{ include "meter.leastGrace" . }} that preStopSeconds ({{ .Values.preStopSeconds }}), config.timeouts.drain ({{ include "meter.drain" . }}) and 15 to flush take: streams would be killed
{{- end }}
{{- end }}

{{- define "meter.wrong.replicas" }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas is {{ .minReplicas }}, more than autoscaling.maxReplicas, which is {{ .maxReplicas }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .targetRequestsInFlight .metrics) }}
autoscaling.enabled is true, and none of autoscaling.targetCPUUtilizationPercentage, targetRequestsInFlight and metrics says by what
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" ($.Values.resources | default dict))) }}
autoscaling.targetCPUUtilizationPercentage is a share of resources.requests.cpu, which is not set
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (eq (empty (toString .maxUnavailable)) (empty (toString .minAvailable))) }}
podDisruptionBudget wants one of maxUnavailable ({{ .maxUnavailable }}) and minAvailable ({{ .minAvailable }})
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.wrong.ways" }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.enabled is true and ingress.hosts is empty
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute.enabled is true and httpRoute.parentRefs names no gateway
{{- end }}
{{- with .Values.networkPolicy }}
{{- if and .enabled .egress.enabled (not .egress.to) }}
networkPolicy.egress.enabled is true and networkPolicy.egress.to is empty: no upstream could be reached
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
serviceMonitor.enabled and podMonitor.enabled are both true: every number would be counted twice
{{- end }}
{{- end }}

{{- define "meter.wrong.apis" }}
{{- $apis := dict "serviceMonitor" "monitoring.coreos.com/v1" "podMonitor" "monitoring.coreos.com/v1" "prometheusRule" "monitoring.coreos.com/v1" "httpRoute" "gateway.networking.k8s.io/v1" }}
{{- range $name, $api := $apis }}
{{- with get $.Values $name }}
{{- if and .enabled (not .force) (not ($.Capabilities.APIVersions.Has $api)) }}
{{ $name }}.enabled is true and the cluster has no {{ $api }}: install its CustomResourceDefinitions first, or set {{ $name }}.force
{{- end }}
{{- end }}
{{- end }}
{{- end }}
