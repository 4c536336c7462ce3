//! The adapter against endpoints that do what no specification foresees.

use std::sync::Mutex;

use super::*;
use crate::{
    chain::{Endpoints, Finality, Lacks, PoolSettings, dial, http::is_loopback},
    testing::{
        Log,
        endpoint::{Said, TestEndpoint, client_settings},
    },
};

fn ok(method: &str) -> Said {
    match method {
        "eth_chainId" => Said::Result(json!("0x7")),
        "eth_getBlockByNumber" => Said::Result(header()),
        _ => Said::Error(-32_601, format!("the method {method} does not exist")),
    }
}

fn pool(endpoint: &Endpoint) -> Endpoints<AlloyChain> {
    let chain = Arc::new(AlloyChain::new(endpoint.clone(), client_settings()));
    let settings = PoolSettings { chain_id: 7, quorum: 1, timeout: Duration::from_secs(1) };
    Endpoints::new(vec![(endpoint.to_string(), chain)], settings)
}

/// What following brings within a time.
async fn followed(pool: &Endpoints<AlloyChain>, time: Duration) -> Vec<HeadUpdate> {
    let heads = Mutex::new(Vec::new());
    let tell = |heard: HeadUpdate| heads.lock().unwrap().push(heard);
    let stop = CancellationToken::new();
    let _ = tokio::time::timeout(time, pool.follow(&tell, &stop)).await;
    heads.into_inner().unwrap()
}

/// F2: an endpoint that took every WebSocket and closed it at once was connected to 9,835 times in 15 s.
#[tokio::test]
async fn an_endpoint_that_closes_every_websocket_is_connected_to_ever_more_seldom() {
    let log = Log::start();
    let endpoint = TestEndpoint::closing().await;
    let pool = pool(&endpoint.url("ws"));
    assert!(followed(&pool, Duration::from_secs(3)).await.is_empty());
    // Pauses of 50 to 100 ms, doubled: 6 or 7 in 3 s.
    let connections = endpoint.connections();
    assert!((2..=9).contains(&connections), "{connections}");
    assert_eq!(pool.health()[0].connections, connections as u64);
    let told = log.with("the endpoint fails");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("1008 too many\\nconnections"), "{told:?}");
}

/// F2: people at a command line reconnected without a pause, too.
#[tokio::test]
async fn a_command_that_reconnects_pauses_as_well() {
    let endpoint = TestEndpoint::closing().await;
    let provider = dial(&endpoint.url("ws"), &RootCertificates::default(), 10).await.unwrap();
    let asking = provider.client().request::<_, U64>("eth_chainId", ()).into_future();
    assert!(tokio::time::timeout(Duration::from_secs(2), asking).await.is_err());
    assert!((2..=9).contains(&endpoint.connections()), "{}", endpoint.connections());
}

/// F5: over an endpoint without `eth_subscribe` the node stayed at block 0 for ever, without a word.
#[tokio::test]
async fn an_endpoint_without_subscriptions_is_polled_and_that_is_said_once() {
    let log = Log::start();
    let endpoint = TestEndpoint::start(|method, _| ok(method)).await;
    let heads = followed(&pool(&endpoint.url("ws")), Duration::from_secs(1)).await;
    assert_eq!(heads.iter().map(|told| told.head.as_ref().unwrap().block.number).collect::<Vec<_>>(), [5]);
    assert!(endpoint.calls("eth_getBlockByNumber").len() > 5);
    let told = log.with("takes no subscription");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("eth_subscribe does not exist"), "{told:?}");
}

/// F14: what came instead of JSON-RPC was printed as it came, over several lines or as bytes, or not at all.
#[tokio::test]
async fn what_comes_instead_of_json_rpc_is_named_in_one_line_with_the_endpoint_and_a_remedy() {
    for (body, said) in [
        ("<html>\n<body>Please sign in secret-key-1</body>\n</html>".into(), "a web page; check the URL"),
        (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b], "compressed bytes, which were not asked for"),
        (vec![0xff, 0xfe, 0, 1], "4 bytes that are no text"),
        (Vec::new(), "nothing; check the URL"),
        ("busy\r\n\u{1b}[31mred".into(), "text that is no JSON; check the URL: busy\\r\\n\\u{1b}[31mred"),
        ("{\"ok\": true}".into(), "JSON that is no reply of JSON-RPC; check the URL: {\"ok\": true}"),
        ("{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":\"seven\"}".into(), "a result of another shape"),
        ("{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":[\"0x7\"]}".into(), "a result of another shape"),
    ] as [(Vec<u8>, &str); _]
    {
        let served = body.clone();
        let endpoint = TestEndpoint::start(move |_, _| Said::Body(200, served.clone())).await;
        let error = AlloyChain::new(endpoint.url("http"), client_settings()).chain_id().await.unwrap_err();
        let told = error.to_string();
        assert_eq!(error.label(), "malformed", "{told}");
        assert!(told.contains(said) && told.starts_with("http://127.0.0.1:"), "{told}");
        assert!(!told.contains("secret-key-1") && !told.contains(char::is_control) && told.len() < 400, "{told}");
    }
}

/// F14: an error that is null beside a result was refused, and so was a block without a filter.
#[tokio::test]
async fn what_carries_no_meaning_is_passed_over() {
    for scheme in ["http", "ws"] {
        for bloom in [json!(null), json!("0x0"), json!("0x"), json!(7)] {
            let endpoint = TestEndpoint::start(move |method, _| {
                let mut block = header();
                block["logsBloom"] = bloom.clone();
                let result = if method == "eth_chainId" { json!("0x7") } else { block };
                // The adapter's first call has the id 0, its second 1.
                let id = u8::from(method != "eth_chainId");
                let reply = json!({ "jsonrpc": "2.0", "id": id, "error": null, "result": result });
                Said::Body(200, reply.to_string().into())
            })
            .await;
            let chain = AlloyChain::new(endpoint.url(scheme), client_settings());
            assert_eq!(chain.chain_id().await, Ok(7));
            let head = chain.head().await.unwrap();
            assert!(!head.may_have_logs_of(Address::ZERO));
        }
    }
}

/// F14: `HTTP_PROXY` caught endpoints of the same machine.
#[test]
fn an_endpoint_of_this_machine_is_never_reached_through_a_proxy() {
    for (url, loopback) in [
        ("http://127.0.0.1:8545", true),
        ("http://127.9.9.9", true),
        ("http://[::1]:8545", true),
        ("http://[::ffff:127.0.0.1]", true),
        ("http://localhost:8545/key", true),
        ("https://node.localhost.", true),
        ("http://10.0.0.1", false),
        ("https://localhost.example.org", false),
    ] {
        assert_eq!(is_loopback(&url.parse().unwrap()), loopback, "{url}");
    }
    // The variable is read when a client is made, so this is a process of its own.
    if std::env::var_os("HTTP_PROXY").is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "chain::client::tests::faulty::an_endpoint_of_this_machine_is_never_reached_through_a_proxy";
        let mut process = std::process::Command::new(this);
        let ran = process.args([name, "--exact"]).env("HTTP_PROXY", "http://127.0.0.1:9").output().unwrap();
        assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("1 passed"), "{ran:?}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = TestEndpoint::start(|method, _| ok(method)).await;
        assert_eq!(AlloyChain::new(endpoint.url("http"), client_settings()).chain_id().await, Ok(7));
    });
}

/// F10: an endpoint's words were logged as they came: with a newline it could write a line of the log.
#[tokio::test]
async fn an_endpoints_words_write_no_line_of_their_own() {
    let log = Log::start();
    let forged = "busy\n2026-11-27T00:00:00Z  INFO oraculum: all is well\u{1b}[2J\u{202e}";
    let escaped = "busy\\n2026-11-27T00:00:00Z  INFO oraculum: all is well\\u{1b}[2J\\u{202e}";
    for scheme in ["http", "ws"] {
        let endpoint = TestEndpoint::start(move |_, _| Said::Error(-32_000, forged.into())).await;
        let error = AlloyChain::new(endpoint.url(scheme), client_settings()).chain_id().await.unwrap_err();
        assert!(error.to_string().ends_with(escaped), "{error}");
        tracing::warn!(%error, "as it is logged");
        let client = Client::connect(endpoint.url(scheme), Some(7), &RootCertificates::default()).await;
        let error = client.err().unwrap().to_string();
        assert!(!error.contains(['\n', '\u{1b}', '\u{202e}']), "{error}");
    }
    assert_eq!((log.with("as it is logged").len(), log.with("all is well").len()), (2, 2));
}

/// F8: user and password of a WebSocket's URL were sent with their `%`-escapes.
#[tokio::test]
async fn user_and_password_are_sent_as_they_are_meant_over_either_transport() {
    for scheme in ["http", "ws"] {
        let endpoint = TestEndpoint::start(|method, _| ok(method)).await;
        let url = format!("{scheme}://us%40er:p%3Ass%2Fw%C3%B6rd%25@127.0.0.1:{}", endpoint.port());
        AlloyChain::new(url.parse().unwrap(), client_settings()).chain_id().await.unwrap();
        let sent = endpoint.authorization().unwrap();
        let meant = alloy::transports::Authorization::basic("us@er", "p:ss/wörd%").to_string();
        assert_eq!(sent, meant, "{scheme}");
        let shown: Endpoint = url.parse().unwrap();
        assert_eq!(shown.scrub("us@er with p:ss/wörd% and p%3Ass%2Fw%C3%B6rd%25"), "… with … and …");
    }
}

/// F11: over an endpoint that refused the tag `pending` the node was ready, answered nothing, and warned every second.
#[tokio::test]
async fn what_an_endpoint_cannot_do_is_found_and_named_before_it_is_needed() {
    let answer = |method: &str, params: &Value, pending: bool| match method {
        "eth_chainId" => Said::Result(json!("0x7")),
        "eth_getBlockByNumber" if params[0] == "finalized" => Said::Error(-32_602, "unknown tag\nfinalized".into()),
        "eth_getBlockByNumber" => Said::Result(header()),
        "eth_getTransactionCount" | "eth_call" if params[1] == "pending" && !pending => {
            Said::Error(-32_000, "pending is not available".into())
        }
        "eth_getTransactionCount" | "eth_getBalance" => Said::Result(json!("0x0")),
        "eth_call" => Said::Result(json!("0x")),
        "eth_getLogs" => Said::Result(json!([])),
        other => panic!("{other}"),
    };
    let poor = TestEndpoint::start(move |method, params| answer(method, params, false)).await;
    let good = TestEndpoint::start(move |method, params| answer(method, params, true)).await;
    let lacks = async |urls: &[&TestEndpoint], quorum: usize, finality: Finality| {
        let client = |of: &&TestEndpoint| {
            let url = of.url("http");
            (url.to_string(), Arc::new(AlloyChain::new(url, client_settings())))
        };
        let settings = PoolSettings { chain_id: 7, quorum, timeout: Duration::from_secs(1) };
        let pool = Endpoints::new(urls.iter().map(client).collect(), settings);
        let call = Call { from: None, to: Some(Address::ZERO), data: Bytes::new(), gas: None, block: None };
        pool.lacks(&call, Address::ZERO, finality).await
    };
    let by_depth = Finality::Depth(1);
    let alone = lacks(&[&poor], 1, by_depth).await;
    assert_eq!((alone.some.len(), alone.all.len()), (0, 2), "{alone:?}");
    assert!(alone.all[0].contains("refuses eth_getTransactionCount at `pending`: "), "{alone:?}");
    assert!(alone.all[1].contains("refuses eth_call at `pending`: "), "{alone:?}");
    let backed = lacks(&[&poor, &good], 1, by_depth).await;
    assert_eq!((backed.some.len(), backed.all.len()), (2, 0), "{backed:?}");
    let both = lacks(&[&poor, &good], 2, by_depth).await;
    assert_eq!((both.some.len(), both.all.len()), (0, 2), "{both:?}");
    assert_eq!(lacks(&[&good], 1, by_depth).await, Lacks::default());
    let tagged = lacks(&[&good], 1, Finality::Tag(Tag::Finalized)).await;
    assert!(tagged.all[0].contains("the tag of `chain.finality`") && !tagged.all[0].contains('\n'), "{tagged:?}");
}
