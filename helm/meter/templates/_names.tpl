{{/* What things are called. Selectors never contain a version: they cannot change. */}}

{{- define "meter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 57 | trimSuffix "-" }}
{{- end }}

{{/* At most 57 characters, so that "-admin" fits behind it. */}}
{{- define "meter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 57 | trimSuffix "-" }}
{{- end }}

{{- define "meter.serviceAccountName" -}}
{{- default (ternary (include "meter.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "meter.instance" -}}
app.kubernetes.io/name: {{ include "meter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "meter.selector" -}}
{{ include "meter.instance" . }}
app.kubernetes.io/component: proxy
{{- end }}

{{/* The pod of `helm test`: apart from the selector, or Services would lead to it. */}}
{{- define "meter.testSelector" -}}
{{ include "meter.instance" . }}
app.kubernetes.io/component: test
{{- end }}

{{/* Called with the root and more labels. What is the chart's own wins, since no key may be there twice. */}}
{{- define "meter.labels" -}}
{{- $root := index . 0 }}
{{- $own := include "meter.instance" $root | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- merge $own (index . 1) $root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "meter.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* The URLs inside the cluster. ".svc" is a name that nobody has in the public DNS, which the admin port wants. */}}
{{- define "meter.url" -}}
http{{ if .Values.tls.existingSecret }}s{{ end }}://{{ include "meter.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end }}

{{- define "meter.adminUrl" -}}
http://{{ include "meter.fullname" . }}-admin.{{ .Release.Namespace }}.svc:{{ .Values.service.adminPort }}
{{- end }}
