"""Monitoring, logging, tracing and dashboards.

Prometheus operator  https://prometheus-operator.dev/docs/platform/operator/ (Available may be "Degraded"; Reconciled)
Grafana operator     https://grafana.github.io/grafana-operator/docs/api/ (stage, stageStatus, conditions *Synchronized)
VictoriaMetrics      https://docs.victoriametrics.com/operator/api/ (updateStatus)
Loki and Tempo       https://loki-operator.dev/docs/api.md/ (Ready, Pending, Failed, Degraded)
OpenTelemetry        https://github.com/open-telemetry/opentelemetry-operator/blob/main/docs/api/ (no conditions)
Jaeger               https://www.jaegertracing.io/docs/1.76/deployment/operator/ (phase)
Datadog              https://docs.datadoghq.com/containers/datadog_operator/custom_resources/ (DatadogAgent: Ready, ReconcileError)
Logging operator     https://kube-logging.dev/docs/configuration/crds/v1beta1/ (status.problems)
Sloth                https://sloth.dev (promOpRulesGenerated)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    degraded,
    is_false,
    is_true,
    listing,
    mapping,
    of,
    progressing,
    said,
    same,
    suspended,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase

BINDINGS_MAX = 50


def prometheus(obj: Body) -> Health:
    if mapping(obj, "spec").get("paused") is True:
        return suspended("it is paused: spec.paused is set")
    found = of(obj)
    reconciled, available = found.get("Reconciled"), found.get("Available")
    if is_false(reconciled):
        return degraded(f"its operator cannot make it so: {said(reconciled)}")
    if is_true(available):
        return HEALTHY
    # The third status, "Degraded", is this operator's own: some Pods serve, not all. They may be on their way.
    return progressing(said(available) or "its Pods are not there yet")


def monitor(obj: Body) -> Health:
    """Accepted by each Prometheus that selects it; nothing is written before operator 0.85, and it is well then."""
    for binding in listing(mapping(obj, "status"), "bindings")[:BINDINGS_MAX]:
        for each in listing(binding, "conditions"):
            if isinstance(each, dict) and each.get("type") == "Accepted" and is_false(each):
                return degraded(f"{text(binding, 'resource')} {text(binding, 'name')} refuses it: {said(each)}")
    return HEALTHY


def grafana(obj: Body) -> Health:
    status = mapping(obj, "status")
    told = text(status, "lastMessage") or f"stage {text(status, 'stage') or 'not known yet'}"
    if text(status, "stageStatus") == "failed":
        return degraded(told)
    done = text(status, "stage") == "complete" and text(status, "stageStatus") == "success"
    return HEALTHY if done else progressing(told)


def grafana_content(obj: Body) -> Health:
    """Dashboards and the like name their condition after themselves: DashboardSynchronized, FolderSynchronized …"""
    found = of(obj)
    for name, condition in found.items():
        if name in (
            "InvalidSpec",
            "InvalidModel",
            "InvalidModelResolution",
            "NoMatchingInstance",
            "NoMatchingFolder",
        ) and is_true(condition):
            return degraded(f"{name}: {said(condition)}")
        if name.endswith("Synchronized") and is_false(condition):
            return degraded(said(condition) or f"{name} is False")
        if name == "Suspended" and is_true(condition):
            return suspended(said(condition) or "it is suspended")
    return HEALTHY


def loki(obj: Body) -> Health:
    found = of(obj)
    for name in ("Failed", "Degraded"):
        if is_true(found.get(name)):
            return degraded(said(found[name]) or name)
    if is_true(found.get("Ready")):
        return HEALTHY
    return progressing(said(found.get("Pending")) or "its Pods are not ready")


def logging_part(obj: Body) -> Health:
    problems = [each for each in listing(mapping(obj, "status"), "problems") if isinstance(each, str)]
    return degraded("; ".join(problems[:3])) if problems else HEALTHY


def datadog_monitor(obj: Body) -> Health:
    """The monitor is well when Datadog has it; whether it alerts is not its health."""
    found = of(obj)
    if is_true(found.get("Error")):
        return degraded(said(found["Error"]) or "Datadog has refused it")
    return (
        HEALTHY
        if text(obj, "status.monitorState") or is_true(found.get("Active"))
        else progressing("Datadog does not have it yet")
    )


_SERVERS = same(prometheus, "Prometheus PrometheusAgent Alertmanager ThanosRuler")
_MONITORS = same(monitor, "ServiceMonitor PodMonitor Probe ScrapeConfig PrometheusRule AlertmanagerConfig")
_VICTORIA = phase(
    "status.updateStatus",
    healthy="operational",
    degraded_by="failed",
    suspended_by="paused",
    message="status.reason",
    absent="healthy",
)

TABLE: Table = {
    "monitoring.coreos.com": {**_SERVERS, **_MONITORS},
    "grafana.integreatly.org": {"Grafana": grafana, "*": grafana_content},
    "operator.victoriametrics.com": {"*": _VICTORIA},
    "loki.grafana.com": {"LokiStack": loki, "*": needs(absent="healthy", final="Valid")},
    "tempo.grafana.com": {"TempoStack": loki, "TempoMonolithic": loki},
    "opentelemetry.io": {"*": always},
    "jaegertracing.io": {"Jaeger": phase("status.phase", healthy="Running", degraded_by="Failed")},
    "datadoghq.com": {
        "DatadogAgent": needs(failed="DatadogAgentReconcileError DatadogMetricError Failed", absent="healthy"),
        "DatadogMonitor": datadog_monitor,
        "DatadogMetric": needs("Valid", failed="Error", absent="progressing"),
        **same(datadog_monitor, "DatadogSLO DatadogDashboard DatadogGenericResource"),
    },
    "logging.banzaicloud.io": {"*": logging_part},
    "sloth.slok.dev": {"PrometheusServiceLevel": phase("status.promOpRulesGenerated", healthy="true", absent="progressing")},
    "kiali.io": {"Kiali": needs("Successful", failed="Failure", busy="")},
    "pyrra.dev": {"ServiceLevelObjective": always},
    "k6.io": {"TestRun": phase("status.stage", healthy="finished", degraded_by="error")},
    "sematext.com": {"*": convention},
}
