{{/* The parts of the pod that are long enough to have a name. */}}

{{- define "meter.lifecycle" -}}
{{- with .Values.preStopSeconds }}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30-0" $.Capabilities.KubeVersion.Version }}
    sleep: {seconds: {{ . }}}
    {{- else }}
    exec: {command: [python3, -c, "import time; time.sleep({{ . }})"]}
    {{- end }}
{{- end }}
{{- end }}

{{- define "meter.probes" -}}
{{- range $name, $path := dict "startupProbe" "/healthz" "readinessProbe" "/readyz" "livenessProbe" "/healthz" }}
{{- with get $.Values $name }}
{{ $name }}:
  httpGet: {path: {{ $path }}, port: admin}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "meter.spread" -}}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
{{- else if .Values.spread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "meter.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- if .Values.affinity }}
affinity: {{- toYaml .Values.affinity | nindent 2 }}
{{- else if .Values.spread }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "meter.selector" . | nindent 14 }}
{{- end }}
{{- end }}

{{- define "meter.volumes" -}}
- name: config
  configMap: {name: {{ include "meter.fullname" . }}}
- name: state
  {{- if eq .Values.ledger.store "volume" }}
  persistentVolumeClaim: {claimName: {{ default (include "meter.fullname" .) .Values.ledger.volume.existingClaim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.ledger.sizeLimit }}}
  {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "meter.volumeMounts" -}}
- {name: config, mountPath: /etc/meter, readOnly: true}
- {name: state, mountPath: /var/lib/meter}
- {name: tmp, mountPath: /tmp}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/meter-tls, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
