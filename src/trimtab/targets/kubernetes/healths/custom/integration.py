"""Integration and life around applications: Camel K, Dapr, Keycloak, runners of CI systems.

Camel K    https://camel.apache.org/camel-k/2.x/apis/camel-k.html (IntegrationPhase and others)
Dapr       https://docs.dapr.io/reference/resource-specs/ (no status)
Keycloak   https://www.keycloak.org/operator/advanced-configuration (Ready, HasErrors, RollingUpdate)
ARC        https://docs.github.com/en/actions/concepts/runners/actions-runner-controller
GitLab     https://docs.gitlab.com/operator/ (phase)
Jenkins    https://jenkinsci.github.io/kubernetes-operator/docs/
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    degraded,
    is_true,
    mapping,
    of,
    progressing,
    said,
    same,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase


def keycloak(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("HasErrors")):
        return degraded(said(found["HasErrors"]) or "it has errors")
    if is_true(found.get("RollingUpdate")):
        return progressing("is being updated")
    ready = found.get("Ready")
    return HEALTHY if is_true(ready) else progressing(said(ready) or "is not ready")


def realm_import(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("HasErrors")):
        return degraded(said(found["HasErrors"]) or "it has errors")
    return HEALTHY if is_true(found.get("Done")) else progressing(said(found.get("Started")) or "has not been imported yet")


def jenkins(obj: Body) -> Health:
    status = mapping(obj, "status")
    if text(status, "userConfigurationCompletedTime"):
        return HEALTHY
    base = text(status, "baseConfigurationCompletedTime")
    return progressing("its own settings are being made" if base else "its base is being set up")


_CAMEL = phase(
    "status.phase", healthy="Running Ready Succeeded", degraded_by="Error Failed Interrupted", message="status.failure.reason"
)

TABLE: Table = {
    "camel.apache.org": {
        **same(_CAMEL, "Integration IntegrationKit Build IntegrationPlatform Kamelet Pipe KameletBinding CamelCatalog"),
        "IntegrationProfile": phase("status.phase", healthy="Ready", absent="healthy"),
    },
    "dapr.io": {"*": always},
    "k8s.keycloak.org": {"Keycloak": keycloak, "KeycloakRealmImport": realm_import},
    "actions.github.com": {
        "AutoscalingRunnerSet": always,
        "AutoscalingListener": always,
        "EphemeralRunnerSet": always,
        "EphemeralRunner": phase(
            "status.phase", healthy="Running Succeeded", degraded_by="Failed", message="status.message status.reason"
        ),
    },
    "actions.summerwind.dev": {
        **same(always, "RunnerDeployment RunnerReplicaSet RunnerSet HorizontalRunnerAutoscaler"),
        "Runner": phase("status.phase", healthy="Running Succeeded Completed", degraded_by="Failed", message="status.message"),
    },
    "apps.gitlab.com": {"GitLab": phase("status.phase", healthy="Running", degraded_by="Error"), "Runner": convention},
    "jenkins.io": {"Jenkins": jenkins},
    "serverless.openfaas.com": {"*": always},
    "openfaas.com": {"*": always},
    "dex.coreos.com": {"*": always},
}
