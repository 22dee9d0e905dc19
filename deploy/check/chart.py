"""What has to hold for every object that the chart makes, and for the configuration in them.

    chart.py CHART BINARIES CRDS NAME=VALUES=RENDERED...

CHART is the chart's folder, BINARIES that of the built programs, CRDS a folder with definitions of custom resources;
each rendering has a name, the file of values that it was made with (empty for the defaults) and the file it is in.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.30", "1.33"
CALLS = {("gateway", "auth"), ("gateway", "metadata"), ("gateway", "blob"), ("metadata", "auth"), ("blob", "metadata")}
DATABASES = {"auth": "HOLDALL_AUTH__DATABASE__URL", "metadata": "HOLDALL_METADATA__DATABASE__URL", "blob": "HOLDALL_BLOB__INDEX__URL"}
COMPONENT = "app.kubernetes.io/component"

problems = []


def expect(condition, where, what):
    if not condition:
        problems.append(f"{where}: {what}")


def merge(base, over):
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merge(base[key], over[key]) if key in base and key in over else over.get(key, base.get(key)) for key in base | over}
    return over


def closed(schema):
    """The schema of a custom resource, refusing fields that it does not name, as Kubernetes' own do here."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    return schema


def custom_schemas(folder):
    schemas = {}
    for file in pathlib.Path(folder).glob("*.yaml"):
        for crd in yaml.safe_load_all(file.read_text()):
            for version in crd["spec"]["versions"]:
                key = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                schema = closed(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                schemas[key] = schema
    return schemas


class Rendering:
    def __init__(self, name, values, file):
        self.name, self.values = name, values
        self.objects = [entry for entry in yaml.safe_load_all(pathlib.Path(file).read_text()) if entry]
        self.single = values["shape"] == "single"

    def kind(self, kind):
        return [entry for entry in self.objects if entry["kind"] == kind]

    def where(self, entry):
        return f"{self.name}: {entry['kind']} {entry['metadata']['name']}"

    def pods(self):
        """Every workload with its pod."""
        return [(entry, entry["spec"]["template"]["spec"]) for entry in self.kind("Deployment") + self.kind("Job")]


def valid(rendering, custom):
    for entry in rendering.objects:
        where = rendering.where(entry)
        schema = custom.get((entry["apiVersion"], entry["kind"]))
        if schema:
            for error in jsonschema.Draft7Validator(schema).iter_errors(entry):
                expect(False, where, f"{'/'.join(map(str, error.path))}: {error.message}")
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(entry, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                expect(False, where, f"Kubernetes {version}: {'/'.join(map(str, error.path))}: {error.message}")
    names = [(entry["kind"], entry["metadata"]["name"]) for entry in rendering.objects]
    expect(len(names) == len(set(names)), rendering.name, "two objects have one name")


def restricted(rendering):
    """Pod Security "restricted", and what we hold to beyond it."""
    for entry, pod in rendering.pods():
        where, context = rendering.where(entry), pod["securityContext"]
        expect(context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0, where, "runs as root")
        expect(context.get("seccompProfile") == {"type": "RuntimeDefault"}, where, "has no seccomp profile")
        expect(pod.get("automountServiceAccountToken") is False, where, "gets a token of Kubernetes")
        expect(pod.get("enableServiceLinks") is False, where, "gets variables of Services, which look like configuration")
        for field in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"):
            expect(not pod.get(field), where, f"has {field}")
        expect(not [volume for volume in pod["volumes"] if "hostPath" in volume], where, "mounts a folder of the node")
        for container in pod["containers"]:
            security = container["securityContext"]
            expect(security.get("runAsNonRoot") is True, where, "a container runs as root")
            expect(security.get("allowPrivilegeEscalation") is False, where, "may gain privileges")
            expect(security.get("readOnlyRootFilesystem") is True, where, "may write to its image")
            expect(security.get("capabilities") == {"drop": ["ALL"]}, where, "keeps capabilities")
            expect(security.get("seccompProfile") == {"type": "RuntimeDefault"}, where, "a container has no seccomp profile")
            expect(not container["image"].endswith(":latest") and re.search(r"[:@]", container["image"]), where, "has no fixed image")
            resources = container["resources"]
            for resource in ("cpu", "memory", "ephemeral-storage"):
                expect(resource in resources["requests"], where, f"requests no {resource}")
            expect("memory" in resources["limits"], where, "has no limit on memory")
            mounted, volumes = ([entry["name"] for entry in part] for part in (container["volumeMounts"], pod["volumes"]))
            expect(sorted(mounted) == sorted(volumes), where, f"mounts {mounted} of {volumes}")


def deployments(rendering):
    autoscaled = {entry["spec"]["scaleTargetRef"]["name"] for entry in rendering.kind("HorizontalPodAutoscaler")}
    guarded = {entry["spec"]["selector"]["matchLabels"][COMPONENT] for entry in rendering.kind("PodDisruptionBudget")}
    components = {entry["metadata"]["labels"][COMPONENT] for entry in rendering.kind("Deployment")}
    expect(components == ({"gateway"} if rendering.single else {"gateway", "auth", "metadata", "blob"}), rendering.name, f"has {components}")
    shutdown = rendering.values["shutdown"]
    for entry in rendering.kind("Deployment"):
        where, spec, pod = rendering.where(entry), entry["spec"], entry["spec"]["template"]["spec"]
        component = entry["metadata"]["labels"][COMPONENT]
        labels = spec["template"]["metadata"]["labels"]
        expect(spec["selector"]["matchLabels"].items() <= labels.items(), where, "does not select its own pods")
        expect(component in guarded, where, "has no disruption budget")
        expect(("replicas" in spec) != (entry["metadata"]["name"] in autoscaled), where, "replicas and autoscaling are both there, or neither")
        expect(rendering.single == (spec["strategy"]["type"] == "Recreate"), where, f"is rolled out by {spec['strategy']}")
        if not rendering.single:
            keys = [constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]]
            expect(keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], where, f"is spread over {keys}")
        [container] = pod["containers"]
        ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
        expect(None not in ports and "admin" in ports, where, f"has the ports {ports}")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            settings = container[probe]
            if "grpc" in settings:
                expect(settings["grpc"]["port"] == ports.get("grpc"), where, f"{probe} asks another port")
                expect(not rendering.values["tls"]["enabled"], where, f"{probe} speaks gRPC, and no mutual TLS")
                expect(probe == "readinessProbe", where, f"{probe} asks whether it is ready")
            else:
                path = "/readyz" if probe == "readinessProbe" else "/livez"
                expect(settings["httpGet"] == {"path": path, "port": "admin"}, where, f"{probe} asks {settings['httpGet']}")
        drain = shutdown["drainSeconds"]
        expect("lifecycle" not in container, where, "has hooks")
        # 5 s: what the process takes at most beyond its own limit, for blocking work and the last telemetry.
        needed = drain + shutdown["timeoutSeconds"] + 5
        expect(pod["terminationGracePeriodSeconds"] >= needed, where, f"is killed before {needed} s have passed")


def services(rendering):
    deployments = {entry["metadata"]["labels"][COMPONENT]: entry for entry in rendering.kind("Deployment")}
    for entry in rendering.kind("Service"):
        where, spec = rendering.where(entry), entry["spec"]
        component = spec["selector"].get(COMPONENT)
        targets = [deployments[component]] if component else list(deployments.values())
        for port in spec["ports"]:
            expect(port.get("name"), where, "has a port without a name")
            for target in targets:
                named = [port["name"] for port in target["spec"]["template"]["spec"]["containers"][0]["ports"]]
                expect(port["targetPort"] in named, where, f"targets {port['targetPort']}, which {target['metadata']['name']} does not have")
        if component in DATABASES:
            expect(spec.get("clusterIP") == "None", where, "is not headless")


def secrets(rendering):
    """Secrets are named in the values, and none is made."""
    expect(not rendering.kind("Secret"), rendering.name, "makes a Secret")
    values = rendering.values
    declared = {entry["name"] for entry in values["secrets"].values()} | set(values["tls"]["secrets"].values())
    declared |= {values["ingress"]["tlsSecret"], *values["image"]["pullSecrets"]}
    for entry, pod in rendering.pods():
        where, component = rendering.where(entry), entry["metadata"]["labels"][COMPONENT]
        used = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        used |= {pull["name"] for pull in pod.get("imagePullSecrets", [])}
        for variable in pod["containers"][0].get("env", []):
            reference = variable["valueFrom"]["secretKeyRef"]
            used.add(reference["name"])
            of = "migrations" if component == "migrations" else "databases"
            expect(reference["name"] == values["secrets"][of]["name"], where, f"has the database of {reference['name']}")
        expect(used <= declared - {""}, where, f"wants {used - declared}, which the values do not name")
        if component == "migrations":
            migrations = {values["secrets"][of]["name"] for of in ("migrations", "databaseCa")} | set(values["image"]["pullSecrets"])
            expect(used <= migrations, where, f"has {used}")


def policies(rendering):
    """Nothing by default, then exactly who calls whom."""
    all_policies = rendering.kind("NetworkPolicy")
    denying = [entry for entry in all_policies if COMPONENT not in entry["spec"]["podSelector"]["matchLabels"]]
    expect(len(denying) == 1, rendering.name, "has no policy for all its pods")
    for entry in denying:
        spec = entry["spec"]
        expect(spec["policyTypes"] == ["Ingress", "Egress"] and not spec.get("ingress") and not spec.get("egress"), rendering.where(entry), "allows something")
    ingress, egress = set(), set()
    for entry in all_policies:
        spec = entry["spec"]
        component = spec["podSelector"]["matchLabels"].get(COMPONENT)
        for field, peers, pairs in (("ingress", "from", ingress), ("egress", "to", egress)):
            for rule in spec.get(field, []):
                expect(rule.get("ports"), rendering.where(entry), f"opens every port for {field}")
                for peer in rule.get(peers, []):
                    other = peer.get("podSelector", {}).get("matchLabels", {}).get(COMPONENT)
                    if other:
                        pairs.add((component, other) if field == "egress" else (other, component))
    calls = set() if rendering.single else CALLS
    expect(ingress == calls, rendering.name, f"lets in {ingress ^ calls} otherwise than it should")
    expect(egress == calls, rendering.name, f"lets out {egress ^ calls} otherwise than it should")
    workloads = {entry["spec"]["template"]["metadata"]["labels"][COMPONENT] for entry, _ in rendering.pods()}
    covered = {entry["spec"]["podSelector"]["matchLabels"].get(COMPONENT) for entry in all_policies}
    expect(workloads <= covered, rendering.name, f"has no policy for {workloads - covered}")


def configurations(rendering, binaries):
    """The programs accept their files, and find what these name where it is mounted."""
    maps = {entry["metadata"]["name"]: entry["data"] for entry in rendering.kind("ConfigMap")}
    for entry, pod in rendering.pods():
        where, [container] = rendering.where(entry), pod["containers"]
        [program] = container["command"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        path = pathlib.Path(container["args"][container["args"].index("--config") + 1])
        text = maps[volumes[mounts[str(path.parent)]]["configMap"]["name"]][path.name]
        migrates = "migrate" in container["args"]
        component = entry["metadata"]["labels"][COMPONENT]
        for key in ("drain", "timeout"):
            expect(f'\nshutdown.{key} = "{rendering.values["shutdown"][key + "Seconds"]}s"' in text, where, f"has another time to {key}")
        if rendering.values["tls"]["enabled"] and component in DATABASES and not rendering.single:
            known = set(re.findall(r'^server\.tls\.client_calls\."\S+-(\w+)\.\S+\.svc" = ', text, re.MULTILINE))
            expect(known == {caller for caller, callee in CALLS if callee == component}, where, f"lets {known} call it")
        named = set(re.findall(r'"(/etc/holdall/[^"]*)"', text))
        if not migrates:
            lost = {file for file in named if not {file, os.path.dirname(file)} & mounts.keys()}
            expect(not lost, where, f"nothing is mounted at {lost}")
        with tempfile.TemporaryDirectory() as folder:
            for file in named:
                here = pathlib.Path(folder + file)
                here.parent.mkdir(parents=True, exist_ok=True)
                if file != "/etc/holdall/signing":
                    here.touch()
            file = pathlib.Path(folder, "config.toml")
            file.write_text(text.replace('"/etc/holdall/', f'"{folder}/etc/holdall/'))
            variables = {variable["name"]: "postgres://user:password@host/name" for variable in container.get("env", [])}
            command = [pathlib.Path(binaries, pathlib.Path(program).name), "--config", file, "--check-config"]
            run = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            expect(run.returncode == 0, where, f"{program} refuses its configuration: {run.stderr.strip()}")


def documented(chart, defaults):
    """The schema and the values know the same keys."""
    schema = yaml.safe_load((chart / "values.schema.json").read_text())

    def walk(at, schema, values):
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        properties = schema.get("properties")
        if properties is None or not isinstance(values, dict):
            return
        for key, inner in properties.items():
            # Quantities are not listed one by one, and `global` is Helm's own.
            if key in values:
                walk(f"{at}.{key}", inner, values[key])
            else:
                expect(key in ("global", "requests", "limits"), f"values.yaml{at}", f"does not show {key}")

    root = schema
    walk("", schema, defaults)


def main():
    chart, binaries, crds, *renderings = sys.argv[1:]
    chart = pathlib.Path(chart)
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    documented(chart, defaults)
    custom = custom_schemas(crds)
    count = 0
    for rendering in renderings:
        name, values, file = rendering.split("=")
        values = yaml.safe_load(pathlib.Path(values).read_text()) if values else {}
        rendering = Rendering(name, merge(defaults, values), file)
        valid(rendering, custom)
        for check in (restricted, deployments, services, secrets, policies):
            check(rendering)
        configurations(rendering, binaries)
        count += len(rendering.objects)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{count} objects in {len(renderings)} renderings, {len(problems)} problems")
    sys.exit(bool(problems))


main()
