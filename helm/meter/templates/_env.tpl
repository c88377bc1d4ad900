{{/*
The container's variables. What extraEnv names is left out of the chart's own: no name may be there twice.
The settings are named here and not among the arguments, so that `kubectl exec ... -- meter report` knows them, too.
*/}}

{{- define "meter.env" -}}
{{- $given := list }}
{{- range .Values.extraEnv }}{{ $given = append $given .name }}{{ end }}
{{- $env := list }}
{{- range include "meter.ownEnv" . | fromYamlArray }}
{{- if not (has .name $given) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- concat $env .Values.extraEnv | toYaml }}
{{- end }}

{{- define "meter.ownEnv" -}}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom: {fieldRef: {fieldPath: {{ $path }}}}
{{- end }}
- name: METER_CONFIG
  value: /etc/meter/meter.yaml
- name: XDG_STATE_HOME
  value: /var/lib/meter
{{- if eq .Values.ledger.store "none" }}
- name: METER_LEDGER__URL
  value: "off"
{{- else if .Values.ledger.url }}
- name: METER_LEDGER__URL
  value: {{ .Values.ledger.url | quote }}
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: METER_TLS__CERT
  value: /etc/meter-tls/tls.crt
- name: METER_TLS__KEY
  value: /etc/meter-tls/tls.key
{{- end }}
{{- range $name, $secret := include "meter.secretVariables" . | fromYaml }}
{{- with get $.Values.existingSecrets $secret }}
{{- if .name }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.secretVariables" -}}
METER_ADMIN__TOKEN: adminToken
METER_KEY_SALT: keySalt
METER_LEDGER__URL: ledgerUrl
OTEL_EXPORTER_OTLP_HEADERS: otlpHeaders
PGPASSWORD: ledgerPassword
{{- end }}
