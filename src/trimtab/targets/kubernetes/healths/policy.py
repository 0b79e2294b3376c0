"""What guards others: disruption budgets, quotas, admission, flow control, rights.

https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/pod-disruption-budget-v1/
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1/ (Dangling)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Table, always, conditions, degraded, is_true, mapping, number, progressing, said, same


def budget(obj: Body) -> Health:
    """Well while it can be kept. Budgets that never allow a disruption are meant so, and are well too."""
    status = mapping(obj, "status")
    allowed = conditions(status).get("DisruptionAllowed")
    if allowed is not None and allowed.get("reason") == "SyncFailed":
        return degraded(f"its Pods cannot be counted: {said(allowed)}")
    healthy, wanted = number(status, "currentHealthy"), number(status, "desiredHealthy")
    return HEALTHY if healthy >= wanted else progressing(f"{healthy} healthy Pods of the {wanted} that it asks for")


def flow_schema(obj: Body) -> Health:
    dangling = conditions(mapping(obj, "status")).get("Dangling")
    if dangling is not None and is_true(dangling):
        return degraded(f"its priority level is not there: {said(dangling)}")
    return HEALTHY


TABLE: Table = {
    "policy": {"PodDisruptionBudget": budget, "PodSecurityPolicy": always},
    "": same(always, "ResourceQuota LimitRange ServiceAccount"),
    "rbac.authorization.k8s.io": same(always, "Role RoleBinding ClusterRole ClusterRoleBinding"),
    "admissionregistration.k8s.io": same(
        always,
        "ValidatingWebhookConfiguration MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    ),
    "flowcontrol.apiserver.k8s.io": {"FlowSchema": flow_schema, "PriorityLevelConfiguration": always},
    "scheduling.k8s.io": same(always, "PriorityClass"),
    "node.k8s.io": same(always, "RuntimeClass"),
}
