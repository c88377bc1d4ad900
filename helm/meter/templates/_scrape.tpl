{{/* What ServiceMonitor and PodMonitor have in common: called with the root and the monitor's values. */}}

{{- define "meter.monitorMetadata" -}}
name: {{ include "meter.fullname" .root }}
namespace: {{ default .root.Release.Namespace .monitor.namespace }}
labels: {{- include "meter.labels" (list .root .monitor.labels) | nindent 2 }}
{{- end }}

{{- define "meter.scrape" -}}
port: admin
path: /metrics
honorLabels: {{ .monitor.honorLabels }}
{{- range $name := list "interval" "scrapeTimeout" }}
{{- with get $.monitor $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- range $name := list "relabelings" "metricRelabelings" }}
{{- with get $.monitor $name }}
{{ $name }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if not (include "meter.metricsArePublic" .root) }}
authorization:
  type: Bearer
  credentials: {{- toYaml .root.Values.existingSecrets.adminToken | nindent 4 }}
{{- end }}
{{- end }}
