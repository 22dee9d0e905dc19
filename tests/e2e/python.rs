//! The Python client, by its own tests. They need `python3`, and of Python nothing but its standard library.

use std::process::Command;

use harness::{binary, workspace_root};

#[test]
fn the_python_client_passes_its_tests() {
    let client = workspace_root().join("clients/python");
    let output = Command::new("python3")
        .args(["-m", "unittest", "discover", "-s", "tests", "-p", "test_storage.py"])
        .current_dir(&client)
        .env("PYTHONPATH", client.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOLDALL_GATEWAY", binary("holdall-gateway"))
        .output()
        .expect("python3 is installed (Debian: apt-get install python3)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
