{{- /* Labels of every object of the chart. */ -}}
{{- define "tidegate.labels" -}}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{- /* Labels of the objects of one component, given as (list . "controller"). */ -}}
{{- define "tidegate.component" -}}
{{ include "tidegate.labels" (first .) }}
app.kubernetes.io/name: tidegate-{{ last . }}
{{- end }}

{{- /* Labels that select the pods of one component, given as (list . "controller"). */ -}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: tidegate-{{ last . }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
{{- end }}

{{- /* An image's full name, given as (list . .Values.image). */ -}}
{{- define "tidegate.image" -}}
{{- $image := last . -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- with $image.digest }}@{{ . }}{{ else }}:{{ $image.tag | default (first .).Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The user name under which the controller writes. */ -}}
{{- define "tidegate.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- /* Whether whoever writes holds a verb for the object written, given as (list "vpnusers" "approve"). Shorter is
authorizer.requestResource, which Kubernetes' own check of types does not know. */ -}}
{{- define "tidegate.may" -}}
authorizer.group('tidegate.dev').resource('{{ first . }}').namespace(request.namespace).name(request.name).check('{{ last . }}').allowed()
{{- end }}

{{- /* A binding that puts an admission policy in force everywhere, given as (list . "name"). */ -}}
{{- define "tidegate.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ last . }}
  labels:
    {{- include "tidegate.labels" (first .) | nindent 4 }}
spec:
  policyName: {{ last . }}
  validationActions: [Deny, Audit]
{{- end }}

{{- /* What Pod Security "restricted" asks of a pod. */ -}}
{{- define "tidegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
fsGroup: 65534
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What it asks of a container, and a root nobody writes to. */ -}}
{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Where a pod may run, from the values that say so. */ -}}
{{- define "tidegate.placement" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The ports of somebody else's etcd, as a JSON list. */ -}}
{{- define "tidegate.etcdPorts" -}}
{{- $ports := list -}}
{{- range .Values.etcd.external.endpoints -}}
{{- $ports = append $ports (. | trimSuffix "/" | splitList ":" | last) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{- /* The controller's settings file. */ -}}
{{- define "tidegate.settings" -}}
listen: 0.0.0.0:9090
namespace: {{ .Release.Namespace }}
serviceAccount: {{ .Values.serviceAccount.name }}
audit:
  directory: /var/lib/tidegate/audit
etcd:
  {{- if .Values.etcd.external.endpoints }}
  mode: External
  endpoints:
    {{- toYaml .Values.etcd.external.endpoints | nindent 4 }}
  {{- else }}
  mode: Bundled
  endpoints:
    - https://tidegate-etcd.{{ .Release.Namespace }}.svc:2379
  {{- end }}
gateway:
  image: {{ include "tidegate.image" (list . .Values.gateway.image) }}
  imagePullPolicy: {{ .Values.gateway.image.pullPolicy }}
  imagePullSecrets: {{ toJson .Values.imagePullSecrets }}
  {{- toYaml (omit .Values.gateway "image") | nindent 2 }}
main:
  {{- toYaml .Values.main | nindent 2 }}
{{- end }}
