"""The manifests in scripts/ against Kubernetes' own schemas, and against the image that they run."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from tests.containers.shown import ROOT, check_trtbench, stages, volumes_of

MANIFESTS = ("scripts/kubernetes-job.yaml", "scripts/kubernetes-fetch.yaml")
DOCUMENTS: list[dict[str, Any]] = [one for name in MANIFESTS for one in yaml.safe_load_all((ROOT / name).read_text("utf-8"))]
JOB, FETCH = (document for document in DOCUMENTS if document["kind"] == "Job")
POD = JOB["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.36"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["metadata"]["name"])
def test_kubernetes_schema_takes_it_and_knows_every_key(document: dict[str, Any], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(document, version, strict=True)


def test_a_key_that_is_not_kubernetes_would_be_seen() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(JOB | {"spec": JOB["spec"] | {"backofLimit": 0}}, "1.31", strict=True)


@pytest.mark.parametrize("job", [JOB, FETCH], ids=lambda job: job["metadata"]["name"])
def test_it_is_what_the_restricted_pod_security_standard_asks(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    pod, own = spec["securityContext"], spec["containers"][0]["securityContext"]
    assert (pod["runAsNonRoot"], pod["seccompProfile"], own["allowPrivilegeEscalation"]) == (True, {"type": "RuntimeDefault"}, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(set(volume) - {"name"} <= {"persistentVolumeClaim", "emptyDir", "secret"} for volume in spec["volumes"])


@pytest.mark.parametrize("job", [JOB, FETCH], ids=lambda job: job["metadata"]["name"])
def test_the_user_is_the_images(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]["securityContext"]
    assert [f"{pod['runAsUser']}:{pod['runAsGroup']}"] == stages()["gpu"].of("USER")[-1:]
    assert pod["fsGroup"] == pod["runAsGroup"]


def test_the_token_is_a_file_for_fetch_alone() -> None:
    spec = FETCH["spec"]["template"]["spec"]
    container = spec["containers"][0]
    secret = next(volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    assert secret["defaultMode"] == 0o440  # YAML 1.1 and 1.2 read 0440 differently; Kubernetes' and ours are of 1.1
    assert container["env"] == [{"name": "HF_TOKEN_PATH", "value": "/run/secrets/hf/token"}]
    assert not any("secret" in volume for volume in POD["volumes"])
    compile(container["args"][0], "args", "exec")


def test_what_is_fetched_is_what_is_benchmarked() -> None:
    fetched = FETCH["spec"]["template"]["spec"]["containers"][0]["args"][-1]
    assert f"--set=model={fetched}" in CONTAINER["args"]


def test_all_that_is_written_to_is_mounted_and_the_checkpoints_are_not_to_be() -> None:
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in POD["volumes"]}
    assert set(mounts) == {*volumes_of(stages()["gpu"]), "/models", "/tmp", "/dev/shm"}
    assert [path for path, mount in mounts.items() if mount.get("readOnly")] == ["/models"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in POD["volumes"] if "persistentVolumeClaim" in volume}
    made = {document["metadata"]["name"] for document in DOCUMENTS if document["kind"] == "PersistentVolumeClaim"}
    assert claims <= made


def test_a_failed_benchmark_is_not_run_again_in_silence() -> None:
    assert (JOB["spec"]["backoffLimit"], POD["restartPolicy"]) == (0, "Never")


def test_it_asks_for_gpus_and_for_cores_of_its_own() -> None:
    resources = CONTAINER["resources"]
    assert resources["requests"] == resources["limits"]
    assert int(resources["limits"]["cpu"]) > 0  # whole cores
    assert int(resources["limits"]["nvidia.com/gpu"]) > 0


def test_what_reaps_and_what_stops() -> None:
    assert POD["shareProcessNamespace"] is True
    assert POD["terminationGracePeriodSeconds"] >= 60
    assert "command" not in CONTAINER  # the image's entry point, in the exec form


def test_the_encoders_args_that_the_jobs_head_names_are_taken() -> None:
    head = (ROOT / MANIFESTS[0]).read_text("utf-8").partition("apiVersion")[0]
    (shown,) = re.findall(r"^#   (\[.*\])$", head, re.MULTILINE)
    check_trtbench(yaml.safe_load(shown))


def test_the_command_is_one_of_trtbench_and_reads_a_mounted_checkpoint() -> None:
    check_trtbench(CONTAINER["args"])
    model = next(word.rpartition("=")[2] for word in CONTAINER["args"] if word.startswith("--set=model="))
    assert PurePosixPath(model).parent == PurePosixPath("/models")
