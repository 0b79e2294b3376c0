"""Certificates and secrets: cert-manager, External Secrets, Sealed Secrets, Vault, SOPS.

cert-manager      https://cert-manager.io/docs/reference/api-docs/ (Ready, Issuing; Order and Challenge: state)
                  https://cert-manager.io/docs/usage/certificaterequest/#conditions (Approved, Denied, InvalidRequest)
trust-manager     https://cert-manager.io/docs/trust/trust-manager/api-reference/ (Synced)
External Secrets  https://external-secrets.io/latest/api/spec/ (Ready with reason SecretSynced or SecretSyncedError)
Sealed Secrets    https://github.com/bitnami-labs/sealed-secrets (condition Synced)
Vault             https://developer.hashicorp.com/vault/docs/deploy/kubernetes/vso/api-reference
Bank-Vaults       https://bank-vaults.dev/docs/operator/ (condition Healthy)
SOPS              https://github.com/isindir/sops-secrets-operator (status.message)
GKE               https://cloud.google.com/kubernetes-engine/docs/how-to/managed-certs (status.certificateStatus)
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
    of,
    progressing,
    said,
    same,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase


def certificate(obj: Body) -> Health:
    """Ready and not being issued. A failed issuance waits for its next try, which may be an hour away: somebody should know."""
    found = of(obj)
    ready, issuing = found.get("Ready"), found.get("Issuing")
    if is_true(issuing):
        return progressing(f"is being issued: {said(issuing)}")
    if issuing is not None and issuing.get("reason") == "Failed":
        return degraded(f"could not be issued: {said(issuing)}")
    if is_true(ready):
        return HEALTHY
    return progressing(said(ready) or "has not been issued yet")


def certificate_request(obj: Body) -> Health:
    found = of(obj)
    for name in ("Denied", "InvalidRequest"):
        if is_true(found.get(name)):
            return degraded(f"{name}: {said(found[name])}")
    ready = found.get("Ready")
    if is_false(ready) and ready is not None and ready.get("reason") in ("Failed", "Denied"):
        return degraded(said(ready))
    return HEALTHY if is_true(ready) else progressing(said(ready) or "has not been signed yet")


def issuer(obj: Body) -> Health:
    """An ACME registration is tried again and again with the same reason; its errors count as such at once."""
    ready = of(obj).get("Ready")
    if is_true(ready):
        return HEALTHY
    return degraded(said(ready)) if is_false(ready) else progressing(said(ready) or "has not been set up yet")


def sops(obj: Body) -> Health:
    message = text(obj, "status.message")
    if message in ("Healthy", ""):
        return HEALTHY if message else progressing("has not been decrypted yet")
    return degraded(message) if "error" in message.lower() else progressing(message)


_ACME = phase("status.state", healthy="valid", degraded_by="invalid expired errored", message="status.reason", suspended_by="")

TABLE: Table = {
    "cert-manager.io": {
        "Certificate": certificate,
        "CertificateRequest": certificate_request,
        "Issuer": issuer,
        "ClusterIssuer": issuer,
    },
    "acme.cert-manager.io": {"Order": _ACME, "Challenge": _ACME},
    "trust.cert-manager.io": {"Bundle": needs("Synced"), "ClusterBundle": needs("Synced")},
    "policy.cert-manager.io": {"CertificateRequestPolicy": needs("Ready")},
    "external-secrets.io": {
        **same(needs("Ready"), "ExternalSecret PushSecret SecretStore ClusterSecretStore ClusterPushSecret"),
        "ClusterExternalSecret": needs("Ready", failed="NotReady PartiallyReady", absent="healthy"),
    },
    "generators.external-secrets.io": {"*": always},
    "bitnami.com": {"SealedSecret": needs("Synced", final="Synced")},
    "secrets.hashicorp.com": {
        "SecretTransformation": phase("status.valid", healthy="true", degraded_by="false", message="status.error"),
        "VaultAuth": phase("status.valid", healthy="true", degraded_by="false", message="status.error", absent="healthy"),
        "VaultAuthGlobal": phase("status.valid", healthy="true", degraded_by="false", message="status.error", absent="healthy"),
        "VaultConnection": phase("status.valid", healthy="true", degraded_by="false", absent="healthy"),
    },
    "vault.banzaicloud.com": {"Vault": needs("Healthy", absent="healthy")},
    "redhatcop.redhat.io": {
        "*": needs("ReconcileSuccessful", final="ReconcileSuccessful", absent="healthy", failed="ReconcileError")
    },
    "isindir.github.com": {"SopsSecret": sops},
    "secrets-store.csi.x-k8s.io": same(always, "SecretProviderClass SecretProviderClassPodStatus"),
    "networking.gke.io": {
        "ManagedCertificate": phase(
            "status.certificateStatus",
            healthy="Active",
            degraded_by="FailedNotVisible FailedCaaChecking FailedCaaForbidden FailedRateLimited ProvisioningFailed "
            "ProvisioningFailedPermanently RenewalFailed",
        ),
        **same(always, "FrontendConfig ServiceAttachment GCPBackendPolicy HealthCheckPolicy"),
        "MultiClusterIngress": convention,
    },
}
