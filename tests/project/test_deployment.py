"""The image, the unit and the manifests fit the program that they run; the compose file has its own tests.

No container is started here. What is held against something real: every variable against the settings,
every command against the command line, the build context against the wheel, the health check against a
server, the unit against systemd, where there is one.
"""

from __future__ import annotations

import http.server
import re
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from support.deployment import (
    VARIABLE,
    compose,
    context,
    dockerfile,
    environment,
    health_command,
    is_setting,
    manifests,
    parse,
    run,
    text,
    unit,
)
from support.pages import ROOT

from stream_al.settings import load_settings
from stream_al_consumers.http import OPEN_PATHS

SERVICES = compose()["services"]
FILES = (
    "Dockerfile",
    "docker-compose.yml",
    "deploy/stream-al.service",
    "deploy/kubernetes.yaml",
    "docs/deployment.md",
)
TEMPLATE = manifests()["StatefulSet", "stream-al"]["spec"]["template"]["spec"]
(POD,) = TEMPLATE["containers"]


# ---- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_a_setting(name):
    found = set(VARIABLE.findall(text(name)))
    assert found
    assert [variable for variable in sorted(found) if not is_setting(variable)] == []


def test_a_variable_that_is_no_setting_is_found():
    assert is_setting("STREAM_AL__TICKET_KEYS__K1")
    assert is_setting("STREAM_AL__KAFKA__BOOTSTRAP")
    for wrong in ("STREAM_AL__KAFKA__BOOTSTRAPS", "STREAM_AL__KAFKA", "STREAM_AL__SEED__X"):
        assert not is_setting(wrong)


def test_every_image_has_a_version():
    base = {line.name: line.value for line in dockerfile() if line.stage < 0}["ARG"].partition("=")[2]
    stages = [line.words[0].replace("${PYTHON}", base) for line in dockerfile() if line.name == "FROM"]
    pods = [
        container["image"]
        for one in manifests().values()
        if "template" in one.get("spec", {})
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    images = [*stages, *pods, *(service["image"] for service in SERVICES.values())]
    assert len(images) >= 8
    assert [image for image in images if not re.search(r":v?\d+\.\d+[\w.-]*(@sha256:\w+)?$", image)] == []


def test_all_run_as_the_same_user():
    (user,) = [line.value for line in dockerfile() if line.name == "USER"]
    number, group = user.split(":")
    assert int(number) > 0
    security = TEMPLATE["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (int(number), int(group))
    assert SERVICES["prometheus"]["group_add"] == [group]


# ---- the image ------------------------------------------------------------------------------------


def test_the_final_stage_is_small_and_not_root():
    lines = dockerfile()
    final = [line for line in lines if line.stage == lines[-1].stage]
    assert final[0].name == "FROM"
    assert lines[-1].stage == 1, "one stage builds, one runs"
    names = [line.name for line in final]
    assert names.count("USER") == names.count("HEALTHCHECK") == 1
    assert {line.name: line.value for line in final}["STOPSIGNAL"] == "SIGTERM"
    assert {line.name: line.words for line in final if line.name == "ENTRYPOINT"}["ENTRYPOINT"] == [
        "stream-al"
    ]
    (command,) = [line.words for line in final if line.name == "CMD"]
    parse(command)
    after = names[names.index("USER") :]
    assert "RUN" not in after, "nothing is installed as the user that runs"
    ran = " ".join(line.value for line in final if line.name == "RUN")
    assert not re.search(r"\b(apt-get|apk|pip|gcc|curl|wget)\b", ran)
    assert [line.value for line in lines if line.name == "ADD"] == []


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_livez(status, code, monkeypatch):
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STREAM_AL__HTTP__PORT", str(server.server_port))
        python, *arguments = health_command()
        assert python == "python"
        assert run(sys.executable, *arguments, cwd=ROOT).returncode == code
        server.shutdown()
    assert set(asked) <= OPEN_PATHS
    assert asked == ["/livez"]


def test_the_wheel_of_the_build_context_is_whole(tmp_path):
    built = run(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")),
        cwd=context(tmp_path),
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = ((ROOT, "stream_al"), (ROOT / "consumers", "stream_al_consumers"))
    expected = {
        str(path.relative_to(root))
        for root, name in (*folders, (ROOT / "schemas", "stream_al_schemas"))
        for path in (root / name).rglob("*")
        if path.suffix in (".py", ".typed")
    }
    assert packed == expected


# ---- systemd --------------------------------------------------------------------------------------


def test_the_unit_starts_a_command_that_exists_and_stops_it_gently():
    service = unit()["Service"]
    program, *words = service["ExecStart"].split()
    assert Path(program).name == "stream-al"
    assert words[0] == "serve"
    parse(words)
    assert (service["Type"], service["Restart"], service["KillSignal"]) == ("simple", "always", "SIGTERM")
    assert int(service["TimeoutStopSec"]) >= 10
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0", "a limit would give up"
    for key in ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "ProtectKernelTunables"):
        assert service[key] == "yes"
    assert service["StateDirectory"] == "stream-al"


def test_systemd_accepts_the_unit(tmp_path):
    """Where there is systemd; the test above reads the unit everywhere."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here: only our own parser has read the unit")
    file = tmp_path / "stream-al.service"
    file.write_text(text("deploy/stream-al.service").replace("/opt/stream-al/bin/stream-al", sys.executable))
    found = run(analyze, "verify", "--man=no", str(file), cwd=tmp_path)
    said = [line for line in found.stderr.splitlines() if str(file) in line]
    unknown = [line for line in said if not re.search(r"Unknown key.*'Restart(Steps|MaxDelaySec)'", line)]
    assert (found.returncode, unknown) == (0, []), found.stderr


# ---- Kubernetes -----------------------------------------------------------------------------------


def test_the_manifests_are_complete():
    assert set(manifests()) == {
        ("ConfigMap", "stream-al"),
        ("Job", "stream-al-topics"),
        ("StatefulSet", "stream-al"),
        ("Service", "stream-al-replicas"),
        ("Service", "stream-al"),
        ("PodDisruptionBudget", "stream-al"),
    }


def test_the_configuration_of_the_pods_loads(monkeypatch, tmp_path):
    variables = {one["name"]: "pod-0" for one in POD["env"] if "fieldRef" in one["valueFrom"]}
    secrets = {one["name"]: "ab" * 32 for one in POD["env"] if "secretKeyRef" in one["valueFrom"]}
    assert len(variables) + len(secrets) == len(POD["env"]), "no value stands in the file"
    file = tmp_path / "stream-al.toml"
    file.write_text(manifests()["ConfigMap", "stream-al"]["data"]["stream-al.toml"])
    with environment(monkeypatch, variables | secrets):
        settings = load_settings(file, serving=True)
    assert settings.log.kind == "kafka"
    assert settings.kafka.instance_id == "pod-0"
    assert settings.kafka.replication_factor >= 3
    mounted = {mount["mountPath"] for mount in POD["volumeMounts"]}
    placed = (settings.http.token_file, settings.kafka.sasl_password_file, settings.kafka.ssl_cafile)
    assert all(path is not None and str(path.parent) in mounted for path in placed)
    assert str(settings.engine.base_directory) in mounted
    assert POD["ports"] == [{"name": "http", "containerPort": settings.http.port}]


@pytest.mark.parametrize("name", ["Job", "StatefulSet"])
def test_pods_parse_their_command_and_mount_what_there_is(name):
    one = next(one for (kind, _), one in manifests().items() if kind == name)
    pod = one["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    parse(container["args"])
    claims = [claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())]
    volumes = [volume["name"] for volume in pod["volumes"]] + claims
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    config = container["args"][container["args"].index("--config") + 1]
    assert config in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {"requests", "limits"} == set(container["resources"])
    assert pod["automountServiceAccountToken"] is False


def test_the_replicas_are_probed_found_and_spared():
    probes = {name: POD[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert TEMPLATE["terminationGracePeriodSeconds"] >= 10
    spec = manifests()["StatefulSet", "stream-al"]["spec"]
    assert spec["replicas"] == 3
    assert ("Service", spec["serviceName"]) in manifests()
    labels = spec["template"]["metadata"]["labels"]
    budget = manifests()["PodDisruptionBudget", "stream-al"]["spec"]
    services = [one["spec"]["selector"] for (kind, _), one in manifests().items() if kind == "Service"]
    for selector in (spec["selector"]["matchLabels"], budget["selector"]["matchLabels"], *services):
        assert selector == labels
    job = manifests()["Job", "stream-al-topics"]["spec"]["template"]["metadata"]["labels"]
    assert job != labels, "the job's pod is no replica"
