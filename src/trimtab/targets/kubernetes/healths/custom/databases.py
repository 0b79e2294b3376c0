"""Databases and caches.

CloudNativePG  https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/ (conditions Ready, phase in words)
Zalando        https://github.com/zalando/postgres-operator/blob/master/pkg/apis/acid.zalan.do/v1/const.go (PostgresClusterStatus)
Crunchy        https://access.crunchydata.com/documentation/postgres-operator/latest/references/crd/
StackGres      https://stackgres.io/doc/latest/reference/crd/sgcluster/ (conditions Failed, PendingRestart)
Percona        https://docs.percona.com/percona-operator-for-mysql/pxc/operator.html (status.state), psmdb, ps and pgv2 alike
MySQL          https://dev.mysql.com/doc/mysql-operator/en/mysql-operator-properties.html (status.cluster.status)
Vitess         https://github.com/planetscale/vitess-operator/blob/main/docs/api.md
MongoDB        https://github.com/mongodb/mongodb-kubernetes (status.phase)
Elastic        https://www.elastic.co/docs/reference/cloud-on-k8s/api-docs (health, phase)
OpenSearch     https://github.com/opensearch-project/opensearch-k8s-operator/blob/main/docs/designs/crd.md
Redis          https://redis-operator.opstree.dev (status.state), https://redis.io/docs/latest/operate/kubernetes/reference/
Dragonfly      https://www.dragonflydb.io/docs/managing-dragonfly/operator (status.phase)
Cassandra      https://docs.k8ssandra.io/reference/crd/ (cassandraOperatorProgress, conditions)
ScyllaDB       https://operator.docs.scylladb.com/stable/ (Available, Progressing, Degraded)
ClickHouse     https://github.com/Altinity/clickhouse-operator (status.status)
Couchbase      https://docs.couchbase.com/operator/current/reference-couchbasecluster-status.html
TiDB           https://docs.pingcap.com/tidb-in-kubernetes/stable/ (conditions Ready)
KubeBlocks     https://kubeblocks.io/docs/ (status.phase)
Solr           https://apache.github.io/solr-operator/docs/solr-cloud/ (readyReplicas, upToDateNodes)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    conditions,
    degraded,
    is_false,
    is_true,
    listing,
    mapping,
    number,
    of,
    progressing,
    said,
    same,
    suspended,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import counted, paused_by, phase


def cloudnative_pg(obj: Body) -> Health:
    """Ready decides; the phase, a sentence, tells what happens meanwhile. Hibernation is asked for by annotation."""
    status = mapping(obj, "status")
    if mapping(mapping(obj, "metadata"), "annotations").get("cnpg.io/hibernation") == "on":
        return suspended("it hibernates: annotation cnpg.io/hibernation is on")
    word, why = text(status, "phase"), text(status, "phaseReason")
    told = word + (f": {why}" if why else "")
    if word in _PG_STUCK:
        return degraded(told)
    ready = conditions(status).get("Ready")
    if is_true(ready):
        return HEALTHY if word in ("", "Cluster in healthy state") else progressing(told)
    ready_count, wanted = number(status, "readyInstances"), number(mapping(obj, "spec"), "instances", 1)
    return progressing(told or f"{ready_count} of {wanted} instances are ready")


_PG_STUCK = frozenset(
    (
        "Unable to create required cluster objects",
        "Cluster cannot execute instance online upgrade due to missing architecture binary",
        "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
        "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
        "Cluster has incomplete or invalid image catalog",
        "Cluster is unrecoverable and needs manual intervention",
        "Cluster needs to be manually fixed",
        "Not enough disk space",
    )
)


def zalando(obj: Body) -> Health:
    """The word stands under `PostgresClusterStatus`; releases before 2018 wrote it as the status itself."""
    word = text(obj, "status.PostgresClusterStatus") or text(obj, "status")
    if word == "Running":
        return HEALTHY
    failed = word in ("CreateFailed", "UpdateFailed", "SyncFailed", "Invalid", "AddFailed")
    return degraded(f"it is {word}") if failed else progressing(f"it is {word or 'not looked at yet'}")


def crunchy(obj: Body) -> Health:
    """Every instance set has as many ready instances as it says."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if spec.get("paused") is True:
        return suspended("it is paused: spec.paused is set")
    if spec.get("shutdown") is True:
        return suspended("it is shut down: spec.shutdown is set")
    sets = listing(status, "instances")
    if not sets:
        return progressing("its instances have not been started yet")
    for each in sets:
        ready, wanted = number(each, "readyReplicas"), number(each, "replicas")
        if min(ready, number(each, "updatedReplicas", ready)) < wanted:
            return progressing(f"instance set {text(each, 'name')}: {ready} of {wanted} ready")
    return HEALTHY


def elastic(obj: Body) -> Health:
    """green, yellow, red; yellow serves, but copies are missing. While the phase is another than Ready, changes are under way."""
    status = mapping(obj, "status")
    word, step = text(status, "health"), text(status, "phase")
    if step in ("Invalid", "Stalled"):
        return degraded(f"its phase is {step}")
    if step and step != "Ready":
        return progressing(f"its phase is {step}")
    if word == "red":
        return degraded("its health is red")
    return HEALTHY if word == "green" else progressing(f"its health is {word or 'not known yet'}")


def opensearch(obj: Body) -> Health:
    status = mapping(obj, "status")
    word, step = text(status, "health").lower(), text(status, "phase")
    if word == "red":
        return degraded("its health is red")
    if step != "RUNNING":
        return progressing(f"its phase is {step or 'not known yet'}")
    return progressing("its health is yellow: copies are missing") if word == "yellow" else HEALTHY


def vitess(obj: Body) -> Health:
    cells = mapping(mapping(obj, "status"), "cells")
    if not cells:
        return progressing("its cells have not been started yet")
    for name, cell in cells.items():
        if text(cell, "gatewayAvailable") != "True":
            return progressing(f"the gateway of cell {name} is not available")
    return HEALTHY


def cassandra(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("Stopped")):
        return suspended("it is stopped: spec.stopped is set")
    if is_false(found.get("Valid")):
        return degraded(said(found["Valid"]))
    if is_true(found.get("Ready")) and text(obj, "status.cassandraOperatorProgress") in ("Ready", ""):
        return HEALTHY
    busy = [
        name for name in ("Updating", "ScalingUp", "RollingRestart", "ReplacingNodes", "Resuming") if is_true(found.get(name))
    ]
    return progressing(f"is {busy[0]}" if busy else "is not ready")


def couchbase(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("Error")):
        return degraded(said(found["Error"]))
    if is_true(found.get("Hibernating")):
        return suspended("it hibernates")
    for name in ("Upgrading", "Scaling", "ScalingUp", "ScalingDown", "BucketMigrating"):
        if is_true(found.get(name)):
            return progressing(f"is {name}: {said(found[name])}")
    for name in ("Available", "Balanced"):
        if not is_true(found.get(name)):
            return progressing(f"is not {name.lower()}: {said(found.get(name)) or 'no reason given'}")
    return HEALTHY


def solr(obj: Body) -> Health:
    status, wanted = mapping(obj, "status"), number(mapping(obj, "spec"), "replicas", 3)
    ready, new = number(status, "readyReplicas"), number(status, "upToDateNodes")
    return HEALTHY if min(ready, new) >= wanted else progressing(f"{ready} of {wanted} nodes are ready, {new} of the new release")


_PERCONA = paused_by(
    "spec.pause",
    phase("status.state", healthy="ready", degraded_by="error", suspended_by="paused", message="status.message"),
    "it is paused: {path} is set",
)
_PERCONA_BACKUP = phase(
    "status.state", healthy="ready Succeeded", degraded_by="error rejected Failed", message="status.error status.comment"
)
_MONGODB = phase("status.phase", healthy="Running Updated", degraded_by="Failed Unsupported", suspended_by="Disabled Stopped")
_HEALTH = phase("status.health", healthy="green", degraded_by="red")
_REDIS = phase("status.state", healthy="Ready", degraded_by="Failed", message="status.reason", absent="healthy")
_CLICKHOUSE = phase(
    "status.status", healthy="Completed", degraded_by="Aborted", suspended_by="Stopped", message="status.error status.action"
)
_PG_BACKUP = phase("status.phase", healthy="completed", degraded_by="failed walArchivingFailing", message="status.error")

TABLE: Table = {
    "postgresql.cnpg.io": {
        "Cluster": cloudnative_pg,
        "Backup": _PG_BACKUP,
        "ScheduledBackup": paused_by("spec.suspend", always, "it is suspended: {path} is set"),
        "Pooler": counted("status.instances", "spec.instances"),
        **same(
            phase("status.applied", healthy="true", degraded_by="false", message="status.message"),
            "Database Publication Subscription",
        ),
        **same(always, "ImageCatalog ClusterImageCatalog"),
    },
    "acid.zalan.do": {"postgresql": zalando, "OperatorConfiguration": always, "PostgresTeam": always},
    "postgres-operator.crunchydata.com": {"PostgresCluster": crunchy, "PGUpgrade": needs("Succeeded"), "PGAdmin": convention},
    "stackgres.io": {
        "SGCluster": needs(failed="Failed", absent="healthy"),
        "SGBackup": phase("status.process.status", healthy="Completed", degraded_by="Failed", message="status.process.failure"),
        "SGDbOps": needs("Completed", failed="Failed"),
        "SGShardedCluster": needs(failed="Failed", absent="healthy"),
    },
    "pxc.percona.com": {
        "PerconaXtraDBCluster": _PERCONA,
        **same(_PERCONA_BACKUP, "PerconaXtraDBClusterBackup PerconaXtraDBClusterRestore"),
    },
    "psmdb.percona.com": {
        "PerconaServerMongoDB": _PERCONA,
        **same(_PERCONA_BACKUP, "PerconaServerMongoDBBackup PerconaServerMongoDBRestore"),
    },
    "ps.percona.com": {
        "PerconaServerMySQL": _PERCONA,
        **same(_PERCONA_BACKUP, "PerconaServerMySQLBackup PerconaServerMySQLRestore"),
    },
    "pgv2.percona.com": {"PerconaPGCluster": _PERCONA, **same(_PERCONA_BACKUP, "PerconaPGBackup PerconaPGRestore")},
    "mysql.oracle.com": {
        "InnoDBCluster": phase(
            "status.cluster.status",
            healthy="ONLINE",
            degraded_by="OFFLINE NO_QUORUM SPLIT_BRAIN INVALID",
            message="status.cluster.message",
        ),
        "MySQLBackup": phase("status.status", healthy="Completed", degraded_by="Error"),
    },
    "planetscale.com": {"VitessCluster": vitess, "*": always},
    "mongodbcommunity.mongodb.com": {"MongoDBCommunity": _MONGODB},
    "mongodb.com": same(_MONGODB, "MongoDB MongoDBMultiCluster MongoDBOpsManager MongoDBUser MongoDBSearch"),
    "elasticsearch.k8s.elastic.co": {"Elasticsearch": elastic},
    "kibana.k8s.elastic.co": {"Kibana": _HEALTH},
    "apm.k8s.elastic.co": {"ApmServer": _HEALTH},
    "agent.k8s.elastic.co": {"Agent": _HEALTH},
    "beat.k8s.elastic.co": {"Beat": _HEALTH},
    "enterprisesearch.k8s.elastic.co": {"EnterpriseSearch": _HEALTH},
    "maps.k8s.elastic.co": {"ElasticMapsServer": _HEALTH},
    "logstash.k8s.elastic.co": {"Logstash": _HEALTH},
    "stackconfigpolicy.k8s.elastic.co": {
        "StackConfigPolicy": phase("status.phase", healthy="Ready", degraded_by="Error Invalid Conflict"),
    },
    "autoscaling.k8s.elastic.co": {"ElasticsearchAutoscaler": needs(absent="healthy", final="Active")},
    "opensearch.opster.io": {
        "OpenSearchCluster": opensearch,
        "*": phase("status.state", healthy="CREATED", degraded_by="ERROR IGNORED", message="status.reason", absent="healthy"),
    },
    "opensearch.org": {
        "OpenSearchCluster": opensearch,
        "*": phase("status.state", healthy="CREATED", degraded_by="ERROR IGNORED", message="status.reason", absent="healthy"),
    },
    "redis.redis.opstreelabs.in": same(_REDIS, "Redis RedisCluster RedisReplication RedisSentinel"),
    "databases.spotahome.com": {"RedisFailover": _REDIS},
    "app.redislabs.com": {
        "RedisEnterpriseCluster": phase("status.state", healthy="Running", degraded_by="Invalid Error ClusterRecoveryError"),
        "RedisEnterpriseDatabase": phase("status.status", healthy="active", degraded_by="creation-failed recovery-failed error"),
    },
    "dragonflydb.io": {"Dragonfly": phase("status.phase", healthy="ready")},
    "cassandra.datastax.com": {
        "CassandraDatacenter": cassandra,
        "CassandraTask": needs("Complete", failed="Failed"),
    },
    "k8ssandra.io": {"K8ssandraCluster": phase("status.error", healthy="None", absent="healthy")},
    "scylla.scylladb.com": {
        "ScyllaCluster": needs("Available", failed="Degraded", busy="Progressing"),
        "ScyllaDBDatacenter": needs("Available", failed="Degraded", busy="Progressing"),
        "ScyllaDBCluster": needs("Available", failed="Degraded", busy="Progressing"),
        "NodeConfig": needs("Available", failed="Degraded", busy="Progressing"),
        "ScyllaOperatorConfig": always,
    },
    "clickhouse.altinity.com": {
        "ClickHouseInstallation": _CLICKHOUSE,
        **same(always, "ClickHouseInstallationTemplate ClickHouseOperatorConfiguration"),
    },
    "clickhouse-keeper.altinity.com": {"ClickHouseKeeperInstallation": _CLICKHOUSE},
    "couchbase.com": {"CouchbaseCluster": couchbase, "*": always},
    "pingcap.com": {
        "TidbCluster": needs("Ready"),
        "Backup": needs("Complete", failed="Failed Invalid"),
        "Restore": needs("Complete", failed="Failed Invalid"),
    },
    "apps.kubeblocks.io": {
        "Cluster": phase("status.phase", healthy="Running", degraded_by="Failed Abnormal", suspended_by="Stopped"),
        "Component": phase("status.phase", healthy="Running", degraded_by="Failed Abnormal", suspended_by="Stopped"),
        "*": phase("status.phase", healthy="Available", degraded_by="Unavailable", absent="healthy"),
    },
    "solr.apache.org": {"SolrCloud": solr, "SolrPrometheusExporter": phase("status.ready", healthy="true")},
    "zookeeper.pravega.io": {"ZookeeperCluster": counted("status.readyReplicas", "spec.replicas", 3)},
}
