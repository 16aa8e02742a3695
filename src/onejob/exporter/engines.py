"""How container engines run an exported image: podman's line, Kubernetes' manifest.

Sources: podman-run(1); the Kubernetes API reference, core/v1 and apps/v1.
"""

import shlex
from typing import Any

from onejob.model.container import DATA, has_data, needed_capabilities, task_limit
from onejob.model.image import Image
from onejob.model.plan import Plan

SECCOMP = "seccomp.json"
KUBERNETES = "kubernetes.json"
RUN = "run.sh"
_STOP_SLACK_S = 5
# Of a volume in Kubernetes; what a service writes is not in its profile.
_DATA_SIZE = "1Gi"


def image_name(image: Image) -> str:
    """``localhost/NAME:TAG``; the tag says which root it is."""
    return f"localhost/{image.plan.name.lower()}:{image.manifest.verity.root_hash[:12]}"


def stop_seconds(plan: Plan) -> int:
    """How long to wait after SIGTERM: the service has its time, process 1 some more."""
    return -(-plan.service.stop_timeout_ms // 1000) + _STOP_SLACK_S


def network_settings(plan: Plan) -> dict[str, str]:
    """Those that each network namespace has for itself; process 1 looks whether they are so."""
    own = ("net.core.somaxconn", "net.ipv4.", "net.ipv6.", "net.unix.")
    whole_machine = ("net.ipv4.tcp_mem", "net.ipv4.udp_mem", "net.ipv4.tcp_max_orphans")
    return {
        name: value
        for name, value in plan.sysctls().items()
        if name.startswith(own) and name not in whole_machine
    }


def run_script(image: Image, archive: str) -> str:
    """A shell script that loads the image into podman and runs it."""
    plan = image.plan
    words = [
        f"--name={plan.name}",
        f"--hostname={plan.service.hostname}",
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop=all",
        *(f"--cap-add={name}" for name in needed_capabilities(plan)),
        f"--security-opt=seccomp={SECCOMP}",
        "--security-opt=apparmor=unconfined",
        "--security-opt=label=disable",
        f"--memory={plan.machine.memory_kib}k",
        f"--pids-limit={task_limit(plan)}",
        *(f"--ulimit={name}={value}:{value}" for name, value in plan.sizes("limit").items()),
        *(f"--sysctl={name}={value}" for name, value in network_settings(plan).items()),
        f"--stop-timeout={stop_seconds(plan)}",
    ]
    if has_data(plan):
        words.append(f"--volume={plan.name}-data:{DATA}:nosuid,nodev,noexec")
    words += [f"--publish={port}:{port}" for port in plan.service.ports]
    lines = " \\\n    ".join(shlex.quote(word) for word in words)
    return f"""\
#!/bin/sh
# Loads {plan.name} into podman and runs it as its plan says; words for podman run may follow.
set -e
cd "$(dirname "$0")"
podman load --quiet --input {shlex.quote(archive)}
exec podman run --rm \\
    {lines} \\
    "$@" {image_name(image)}
"""


def kubernetes(image: Image) -> dict[str, Any]:
    """A List of what the cluster has to have: Deployment, Service, claim of a volume."""
    plan = image.plan
    items = [_deployment(image)]
    if plan.service.ports:
        items.append(_service(plan))
    if has_data(plan):
        items.append(_claim(plan))
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _meta(plan: Plan, name: str = "") -> dict[str, Any]:
    return {"name": name or plan.name, "labels": {"app.kubernetes.io/name": plan.name}}


def _deployment(image: Image) -> dict[str, Any]:
    """One instance, and never two at once: the data belongs to one."""
    meta = _meta(image.plan)
    template = {"metadata": {"labels": meta["labels"]}, "spec": _pod(image)}
    selector = {"matchLabels": meta["labels"]}
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": selector,
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _pod(image: Image) -> dict[str, Any]:
    plan = image.plan
    tag = image.manifest.verity.root_hash[:12]
    profile = {"type": "Localhost", "localhostProfile": f"onejob/{plan.name}-{tag}.json"}
    security: dict[str, Any] = {
        "seccompProfile": profile,
        "appArmorProfile": {"type": "Unconfined"},
    }
    if settings := network_settings(plan):
        security["sysctls"] = [{"name": n, "value": v} for n, v in settings.items()]
    pod: dict[str, Any] = {
        "hostname": plan.service.hostname,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": stop_seconds(plan),
        "securityContext": security,
        "containers": [_container(image)],
    }
    if has_data(plan):
        claim = {"claimName": f"{plan.name}-data"}
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": claim}]
    return pod


def _container(image: Image) -> dict[str, Any]:
    """`allowPrivilegeEscalation` cannot be false beside CAP_SYS_ADMIN; the service has neither."""
    plan = image.plan
    memory = f"{plan.machine.memory_kib}Ki"
    container: dict[str, Any] = {
        "name": plan.name,
        "image": image_name(image),
        "resources": {"limits": {"memory": memory}, "requests": {"memory": memory}},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
            "capabilities": {"drop": ["ALL"], "add": list(needed_capabilities(plan))},
        },
    }
    if ports := plan.service.ports:
        container["ports"] = [{"containerPort": port} for port in ports]
        container["readinessProbe"] = {"tcpSocket": {"port": ports[0]}}
    if has_data(plan):
        container["volumeMounts"] = [{"name": "data", "mountPath": DATA}]
    return container


def _service(plan: Plan) -> dict[str, Any]:
    ports = [{"name": f"tcp-{port}", "port": port} for port in plan.service.ports]
    spec = {"selector": _meta(plan)["labels"], "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(plan), "spec": spec}


def _claim(plan: Plan) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _DATA_SIZE}}}
    meta = _meta(plan, f"{plan.name}-data")
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
