//! What operators and tools look at: health, metrics, the description of the calls, the page that shows it.

use crate::common::Server;
use crate::common::web::Web;
use serde_json::{Value, json};

/// Calls as docs/rest.md lists them: method and path.
fn documented() -> Vec<(String, String)> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rest.md")).unwrap();
    let mut calls = Vec::new();
    for row in document.lines().filter(|line| line.starts_with("| `") && line.contains(" /")) {
        let cell = row.split(" | ").next().unwrap();
        let (mut methods, mut last) = (Vec::new(), String::new());
        // Words in backticks: `METHOD`, `METHOD /path` or `/other-end`, of which the first take their path from those behind.
        for word in cell.split('`').skip(1).step_by(2) {
            if let Some(end) = word.strip_prefix('/') {
                let stem = last.rsplit_once('/').unwrap().0.to_owned();
                calls.push((methods[0], format!("{stem}/{end}")));
                continue;
            }
            let mut parts = word.split(' ');
            methods.push(parts.next().unwrap());
            if let Some(path) = parts.next() {
                last = path.split('?').next().unwrap().to_owned();
                calls.extend(methods.iter().map(|method| (*method, last.clone())));
            }
        }
    }
    calls.into_iter().map(|(method, path)| (method.to_lowercase(), path)).collect()
}

#[tokio::test]
async fn the_description_lists_every_documented_call() {
    let server = Server::start(&[]);
    let (status, description) = Web::new(&server).open("GET /openapi.json", Value::Null).await;
    assert_eq!(status, 200);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    let calls = documented();
    assert!(calls.len() > 30, "docs/rest.md was not understood: {calls:?}");
    for (method, path) in &calls {
        assert!(description["paths"][path][method].is_object(), "{method} {path} is documented but not described");
    }
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let known = calls.iter().any(|(m, p)| m == method && p == path) || !path.starts_with("/v1");
            assert!(known, "{method} {path} is not in docs/rest.md");
        }
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let web = Web::new(&server);
    let response = web.request("GET", "/docs").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let base = response.url().path().to_owned();
    let page = response.text().await.unwrap();
    assert!(page.contains("<html"), "{page}");
    let mut parts = 0;
    for marker in ["src=\"", "href=\""] {
        for link in page.split(marker).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(!link.contains("//"), "{link} is elsewhere");
            let path = match link.strip_prefix('/') {
                Some(_) => link.to_owned(),
                None => format!("{}/{}", base.trim_end_matches('/'), link.trim_start_matches("./")),
            };
            let response = web.request("GET", &path).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 200, "{path}");
            parts += 1;
            let text = response.text().await.unwrap_or_default();
            if link.contains("initializer") {
                assert!(text.contains("/openapi.json") && !text.contains("://"), "{text}");
            }
        }
    }
    assert!(parts >= 3, "{page}");
}

#[tokio::test]
async fn health_and_metrics() {
    let server = Server::start(&[]);
    let web = Web::new(&server);
    assert_eq!(web.open("GET /healthz", Value::Null).await, (200, json!({ "status": "ok" })));
    assert_eq!(web.open("GET /readyz", Value::Null).await, (200, json!({ "status": "ok" })));
    web.register("ann").await;
    let response = web.request("GET", "/metrics").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = response.text().await.unwrap();
    for name in ["starling_rest_requests_total", "starling_auth_registrations_total"] {
        assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")), "{name}:\n{text}");
    }
    assert!(!text.contains("ann@example.org"));
}
