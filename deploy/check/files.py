"""What has to hold for the files of deploy/ beside the chart: the image, compose.yaml, and what observes.

    files.py COMPOSE-SCHEMA BINARIES

COMPOSE-SCHEMA is the JSON schema of Compose files, BINARIES the folder of the built programs.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = "holdall-gateway", "holdall-auth", "holdall-metadata", "holdall-blob", "holdall"
# Metrics of others that rules and dashboards use: Prometheus itself, postgres_exporter, our recording rules.
FOREIGN = re.compile(r"up|pg_\w+|job:holdall_\w+:\w+")

problems = []


def expect(condition, where, what):
    if not condition:
        problems.append(f"{where}: {what}")


def image():
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M)).splitlines()
    stages, names = [], set()
    for line in lines:
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append([])
            expect("$" in base or base in names, "Dockerfile", f"begins with {base}, which nobody can replace")
            names.add(name)
        elif instruction == "ARG" and not stages:
            expect(":" in rest and not rest.endswith(":latest"), "Dockerfile", f"{rest} is any version")
        elif instruction:
            expect(instruction.isupper() and bool(stages), "Dockerfile", f"{instruction} is no instruction")
            stages[-1].append((instruction, rest))
    last = stages[-1]
    given = dict(last)
    expect(re.fullmatch(r"[1-9]\d*:[1-9]\d*", given.get("USER", "")), "Dockerfile", "has no user by number, or root")
    expect(not [rest for instruction, rest in last if instruction == "RUN"], "Dockerfile", "runs something in the result, which has no shell")
    for instruction in ("ENTRYPOINT", "CMD", "VOLUME"):
        expect(isinstance(json.loads(given.get(instruction, "null")), list), "Dockerfile", f"has no {instruction} as a list")
    command = json.loads(re.sub(r".*CMD ", "", given.get("HEALTHCHECK", "null")))
    expect(command == ["/usr/bin/holdall-gateway", "healthcheck"], "Dockerfile", f"is healthy by {command}")
    copied = " ".join(rest for instruction, rest in stages[-2] if instruction == "RUN")
    for program in PROGRAMS:
        expect(re.search(rf"target/release/{program}\s", copied + " "), "Dockerfile", f"leaves {program} out")
    for label in ("title", "licenses", "version", "revision"):
        expect(f"org.opencontainers.image.{label}=" in given.get("LABEL", ""), "Dockerfile", f"has no label {label}")
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    expect("*" in ignored and "**/target" in ignored, ".dockerignore", "takes more than it names")
    expect(not [line for line in ignored if line.startswith("!deploy")], ".dockerignore", "takes deploy/, and secrets with it")


def compose(schema, binaries):
    file = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    validator = jsonschema.Draft7Validator(json.loads(pathlib.Path(schema).read_text()))
    for error in validator.iter_errors(file):
        expect(False, "compose.yaml", f"{'/'.join(map(str, error.path))}: {error.message[:200]}")
    services = file["services"]
    secrets = {name: secret["file"] for name, secret in file["secrets"].items()}
    for name, service in services.items():
        where = f"compose.yaml: {name}"
        expect(service.get("cap_drop") == ["ALL"], where, "keeps capabilities")
        expect(service.get("security_opt") == ["no-new-privileges:true"], where, "may gain privileges")
        expect(service.get("read_only") is True, where, "may write to its image")
        expect(name == "gateway" or (service["networks"] == ["inside"] and not service.get("ports")), where, "can be reached from outside")
        expect(name == "postgres" or not service.get("cap_add"), where, "gets capabilities")
        ours = service["image"] == "holdall"
        expect(ours or re.search(r":v?\d", service["image"]), where, "is any version")
        expect(not ours or service["user"] == "65532:65532", where, "is not the image's user")
        for secret in service.get("secrets", []):
            expect(secret in secrets, where, f"wants the secret {secret}")
        for other, condition in service.get("depends_on", {}).items():
            once = "on-failure" in services[other]["restart"]
            wanted = "service_completed_successfully" if once else "service_healthy"
            expect(condition["condition"] == wanted, where, f"waits for {other} to be {condition['condition']}")
            expect(once or services[other]["image"] == "holdall" or "healthcheck" in services[other], where, f"waits for {other}, which nothing says to be healthy")
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        expect(set(mounted) <= file["volumes"].keys(), where, f"mounts {mounted}")
    expect(file["networks"]["inside"] == {"internal": True}, "compose.yaml", "the network inside leads outside")
    made = (DEPLOY / "secrets.sh").read_text()
    for secret in secrets.values():
        path = pathlib.PurePath(secret)
        expect(path.name in made or f"$service{path.suffix}" in made, "secrets.sh", f"does not make {secret}")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("gateway", "auth", "metadata", "blob"):
            where, text = f"compose.yaml: {name}", file["configs"][name]["content"]
            for secret in re.findall(r'"/run/secrets/([^"]*)"', text):
                expect(secret in services[name]["secrets"], where, f"names the secret {secret}, which it does not get")
            path = pathlib.Path(folder, f"{name}.toml")
            path.write_text(text.replace("$$", "$"))
            command = [pathlib.Path(binaries, f"holdall-{name}"), "--config", path, "--check-config"]
            run = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
            expect(run.returncode == 0, where, f"its configuration is refused: {run.stderr.strip()}")


def instruments():
    """Names of our metrics, as Prometheus has them, from where they are made in the code."""
    found = {}
    kinds = {"f64_histogram": "histogram", "u64_histogram": "histogram", "u64_counter": "counter", "gauge": "gauge", "f64_observable_counter": "counter", "f64_observable_gauge": "gauge"}
    for file in ROOT.glob("*/**/src/**/*.rs"):
        text = file.read_text()
        for call, name in re.findall(r'(\w+)\(\s*(?:meter,\s*)?"((?:holdall|rpc|http|db|process)\.[a-z_.]+)"', text):
            kind = kinds.get(call) or {"instrument": "counter", "sizes": "histogram", "times": "histogram", "u64_observable_gauge": "gauge"}.get(call)
            if kind:
                found[name.replace(".", "_")] = kind
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
    return {name + unit + suffix for name, kind in found.items() for unit in ("", "_seconds", "_bytes") for suffix in suffixes[kind]}


def metrics(where, expression, known):
    # Labels, ranges, functions and words of PromQL aside, names are left.
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", " ", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    for name in re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()\b", bare):
        if name in ("and", "or", "unless", "offset", "by") or re.fullmatch(r"\d*[smhd]", name):
            continue
        expect(name in known or FOREIGN.fullmatch(name), where, f"there is no metric {name}")


def rules(known):
    book = (DEPLOY / "observability/RUNBOOK.md").read_text()
    anchors = {heading.lower() for heading in re.findall(r"^## (\w+)$", book, flags=re.M)}
    groups = yaml.safe_load((DEPLOY / "observability/alerts.yaml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    for rule in (rule for group in groups for rule in group["rules"]):
        metrics(f"alerts.yaml: {rule.get('alert', rule.get('record'))}", rule["expr"], known)
    for rule in alerts:
        where, name = f"alerts.yaml: {rule['alert']}", rule["alert"].lower()
        expect(rule["annotations"]["runbook_url"] == f"deploy/observability/RUNBOOK.md#{name}", where, "leads elsewhere")
        expect(name in anchors, where, "is not in the runbook")
        expect(rule["labels"]["severity"] in ("critical", "warning"), where, "has no severity")
    expect(anchors == {rule["alert"].lower() for rule in alerts}, "RUNBOOK.md", "tells of alerts that there are not")


def dashboards(known):
    """Known metrics, panels that do not overlap, and expressions that Prometheus can read."""
    expressions, ids = [], set()
    for file in sorted((DEPLOY / "observability/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        where = f"dashboards/{file.name}"
        expect(dashboard["uid"] not in ids, where, "has the id of another")
        ids.add(dashboard["uid"])
        cells = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            expect(not covered & cells and at["x"] + at["w"] <= 24, where, f"{panel['title']} lies over another panel")
            cells |= covered
            for target in panel.get("targets", []):
                metrics(f"{where}: {panel['title']}", target["expr"], known)
                expressions.append(re.sub(r"\$__(rate_interval|range)", "5m", target["expr"]).replace("$job", "holdall-.+"))
    read = [{"record": f"dashboard:expression:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboards", "rules": read}]}, file)
        file.flush()
        run = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
        expect(run.returncode == 0, "dashboards", run.stdout + run.stderr)
    return len(expressions)


def collector():
    config = yaml.safe_load((DEPLOY / "observability/collector.yaml").read_text())
    for name, pipeline in config["service"]["pipelines"].items():
        for part in ("receivers", "processors", "exporters"):
            for component in pipeline.get(part, []):
                expect(component in config[part], "collector.yaml", f"the pipeline {name} has the {part} {component}, which is not set up")
    used = {component for pipeline in config["service"]["pipelines"].values() for part in pipeline.values() for component in part}
    for part in ("receivers", "processors", "exporters"):
        expect(config[part].keys() <= used, "collector.yaml", f"some {part} are not used: {config[part].keys() - used}")


def main():
    schema, binaries = sys.argv[1:]
    known = instruments()
    image()
    compose(schema, binaries)
    rules(known)
    count = dashboards(known)
    collector()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"image, compose.yaml, alerts, {count} expressions of dashboards, collector: {len(problems)} problems")
    sys.exit(bool(problems))


main()
