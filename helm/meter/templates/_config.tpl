{{/* What Meter is told: the files in its ConfigMap, and what follows from them. */}}

{{- define "meter.files" -}}
{{- $config := deepCopy .Values.config }}
{{- $prices := get $config "prices" | default dict }}
{{- if and .Values.priceFiles (not $prices.files) }}
{{- $_ := set $config "prices" (set $prices "files" (keys .Values.priceFiles | sortAlpha)) }}
{{- end }}
meter.yaml: |
  {{- toYaml $config | nindent 2 }}
{{- range $name, $prices := .Values.priceFiles }}
{{ $name }}: |
  {{- toYaml $prices | nindent 2 }}
{{- end }}
{{- end }}

{{/* A duration as Meter writes them, in whole seconds; nothing, where it is none. */}}
{{- define "meter.seconds" -}}
{{- $text := ternary (printf "%v" .) (toString .) (kindIs "string" .) | trim }}
{{- if kindIs "float64" . }}{{ $text = printf "%f" . }}{{ end }}
{{- if regexMatch `^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$` $text }}
{{- $size := get (dict "ms" 0.001 "s" 1 "" 1 "m" 60 "h" 3600 "d" 86400) (regexFind "[a-z]*$" $text) }}
{{- mulf (regexFind "^[0-9.]+" $text | float64) $size | ceil | int64 }}
{{- end }}
{{- end }}

{{- define "meter.drain" -}}
{{- $drain := (get .Values.config "timeouts" | default dict).drain }}
{{- kindIs "invalid" $drain | ternary "5m" $drain | include "meter.seconds" }}
{{- end }}

{{/* The least grace: load balancers learn, exchanges end, sinks flush. */}}
{{- define "meter.leastGrace" -}}
{{- add .Values.preStopSeconds (include "meter.drain" . | int64) 15 }}
{{- end }}

{{/* Which pages of the admin port want no token. */}}
{{- define "meter.public" -}}
{{- $public := (get .Values.config "admin" | default dict).public }}
{{- if or (not .Values.existingSecrets.adminToken.name) (kindIs "invalid" $public) }}{{ $public = list "healthz" "readyz" "metrics" }}{{ end }}
{{- join " " $public }}
{{- end }}

{{- define "meter.metricsArePublic" -}}
{{- if has "metrics" (include "meter.public" . | splitList " ") }}true{{ end }}
{{- end }}

{{/* The most pods that there may be. */}}
{{- define "meter.mostReplicas" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int }}
{{- end }}
