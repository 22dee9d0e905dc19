//! A Prometheus that is set up as `deploy/observability` says finds every process, understands the rules, and has whatever
//! rules and dashboards ask for.

use std::{collections::BTreeSet, fs, path::Path};

use harness::{
    Command, Options, Process, Server, Service, Shape, encode_segment, eventually, workspace_root,
};
use regex::Regex;
use serde_json::Value;

/// Where the process of that name listens, as its log says after these words.
async fn told(process: &Process, words: &str) -> String {
    let after = Regex::new(&format!("{words}(\\S+)")).expect("an expression");
    eventually(words, async || {
        assert!(process.try_exit().is_none(), "it ended:\n{}", process.log());
        Some(after.captures(&process.log())?[1].to_owned())
    })
    .await
}

/// Prometheus with our configuration, but for where the processes are.
async fn prometheus(server: &Server, folder: &Path) -> Process {
    let ours = workspace_root().join("deploy/observability");
    let mut config = fs::read_to_string(ours.join("prometheus.yaml")).unwrap();
    config = config.replace("_interval: 30s", "_interval: 1s");
    for service in [Service::Gateway, Service::Auth, Service::Metadata, Service::Blob] {
        let admin =
            told(server.process(service), &format!("{} admin listening on http://", service.program())).await;
        let found = format!("dns_sd_configs: [{{names: [{}], type: A, port: 9090}}]", service.name());
        assert!(config.contains(&found), "{config}");
        config = config.replace(&found, &format!("static_configs: [{{targets: [{admin:?}]}}]"));
    }
    fs::write(folder.join("prometheus.yaml"), config).unwrap();
    let rules = fs::read_to_string(ours.join("alerts.yaml")).unwrap();
    fs::write(folder.join("alerts.yaml"), rules.replace(" interval: 30s", " interval: 1s")).unwrap();
    Command::installed("prometheus")
        .expect("prometheus is not installed: apt-get install prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .start()
}

/// The names of our metrics in an expression of PromQL.
fn names(expression: &str) -> BTreeSet<String> {
    let around = Regex::new(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]").unwrap();
    let name = Regex::new(r"[a-zA-Z_:][\w:]*").unwrap();
    let bare = around.replace_all(expression, " ");
    let ours = ["holdall_", "rpc_", "http_", "db_", "process_"];
    let found = name.find_iter(&bare).map(|found| found.as_str());
    found.filter(|name| ours.iter().any(|start| name.starts_with(start))).map(str::to_owned).collect()
}

/// All expressions of the dashboards.
fn dashboards() -> Vec<String> {
    let mut expressions = Vec::new();
    for file in fs::read_dir(workspace_root().join("deploy/observability/dashboards")).unwrap() {
        let dashboard: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().into_iter().flatten();
            expressions.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
        }
    }
    expressions
}

#[tokio::test]
async fn prometheus_has_what_rules_and_dashboards_ask_for() {
    let options = Options::new().env("HOLDALL_ADMIN__LISTEN", "127.0.0.1:0");
    let server = Server::start_with(Shape::FourProcesses, options).await;
    let alice = server.persona("alice").await;
    alice.upload("file", "content").await;
    assert_eq!(alice.download("file").await, "content");

    let folder = tempfile::tempdir().unwrap();
    let prometheus = prometheus(&server, folder.path()).await;
    let address = told(&prometheus, r#"msg="?Listening on"? address="#).await;
    let ask = async |path: &str| -> Option<Value> {
        let answer = reqwest::get(format!("http://{address}/api/v1/{path}")).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    };

    eventually("every process is found", async || {
        let targets = ask("targets?state=active").await?;
        let targets = targets["activeTargets"].as_array()?.clone();
        (targets.len() == 4 && targets.iter().all(|target| target["health"] == "up")).then_some(())
    })
    .await;
    let rules = eventually("every rule is evaluated", async || {
        let rules = ask("rules").await?;
        let groups = rules["groups"].as_array()?.iter();
        let rules: Vec<Value> =
            groups.flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        (rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok")).then_some(rules)
    })
    .await;
    // Nothing is wrong with what was just started.
    let firing: Vec<_> = rules.iter().filter(|rule| rule["state"] == "firing").collect();
    assert!(firing.is_empty(), "{firing:?}");

    let value = async |query: &str| {
        let answer = ask(&format!("query?query={}", encode_segment(query))).await?;
        answer["result"][0]["value"][1].as_str()?.parse::<f64>().ok()
    };
    for query in [
        r#"sum(up{job=~"holdall-.+"}) == 4"#,
        r#"sum(rpc_server_call_duration_seconds_count{job="holdall-metadata",rpc_grpc_status_code="0"}) > 0"#,
        r#"sum(http_server_request_duration_seconds_count{job="holdall-gateway"}) > 0"#,
        r#"sum(db_client_operation_duration_seconds_count{job="holdall-auth"}) > 0"#,
        r#"count(process_resident_memory_bytes > 1e6) == 4"#,
        r#"sum(holdall_blob_received_bytes_total{job="holdall-blob"}) > 0"#,
        r#"max(job:holdall_rpc_failures:ratio_rate5m) < 0.5"#,
    ] {
        eventually(query, async || {
            // Rates are of what happens meanwhile.
            alice.space().await;
            value(query).await
        })
        .await;
    }

    let expressions = rules.iter().map(|rule| rule["query"].as_str().unwrap().to_owned()).chain(dashboards());
    let asked: BTreeSet<String> = expressions.flat_map(|expression| names(&expression)).collect();
    assert!(asked.len() > 40, "{asked:?}");
    let known = ask("label/__name__/values").await.expect("names");
    let known: BTreeSet<&str> = known.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let missing: Vec<&str> = asked.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    assert!(missing.is_empty(), "nobody measures {missing:?}");
}
