//! The adapter over TLS, against servers with certificates of their own making.

mod faulty;
mod mutated;

use std::{path::PathBuf, sync::Arc};

use futures::{SinkExt, StreamExt};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::client::Client;

fn header() -> Value {
    json!({ "number": "0x5", "hash": B256::repeat_byte(5), "parentHash": B256::repeat_byte(4), "timestamp": "0x10" })
}

fn answer(request: &str) -> Value {
    let request: Value = serde_json::from_str(request).unwrap();
    let result = match request["method"].as_str().unwrap() {
        "eth_chainId" => json!("0x7"),
        "eth_subscribe" => json!("0x1"),
        "eth_getBlockByNumber" => header(),
        other => panic!("{other}"),
    };
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

async fn websocket(stream: TlsStream<TcpStream>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        socket.send(Message::text(answer(&text).to_string())).await.unwrap();
        if text.contains("eth_subscribe") {
            let params = json!({ "subscription": "0x1", "result": header() });
            let told = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params });
            socket.send(Message::text(told.to_string())).await.unwrap();
        }
    }
}

async fn http(mut stream: TlsStream<TcpStream>) {
    let mut read = Vec::new();
    // The call is one small write, or two: the body ends where the object does.
    while !read.ends_with(b"}") {
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            return;
        }
    }
    let text = String::from_utf8(read).unwrap();
    let body = answer(text.split_once("\r\n\r\n").unwrap().1).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// A server with a certificate for `localhost`, which is also written into a file in the folder.
async fn server(scheme: &str, folder: &tempfile::TempDir) -> (Endpoint, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.path().join(format!("{scheme}.pem"));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("{scheme}://localhost:{}/secret-key-1", listener.local_addr().unwrap().port());
    let socket = scheme == "wss";
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust us goes away.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if socket { websocket(stream).await } else { http(stream).await }
            });
        }
    });
    (endpoint.parse().unwrap(), file)
}

fn settings(trust: RootCertificates) -> ClientSettings {
    let (timeout, poll) = (Duration::from_secs(10), Duration::from_secs(10));
    ClientSettings { timeout, poll, requests_per_second: 0.0, trust }
}

#[tokio::test]
async fn a_secure_endpoint_is_used_if_its_authority_is_trusted_and_else_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in ["https", "wss"] {
        let (endpoint, file) = server(scheme, &folder).await;
        let trusting = AlloyChain::new(endpoint.clone(), settings(RootCertificates::from_file(&file).unwrap()));
        assert_eq!(trusting.chain_id().await, Ok(7), "{scheme}");
        assert_eq!(trusting.head().await.map(|head| head.block.number), Ok(5), "{scheme}");

        let wary = AlloyChain::new(endpoint.clone(), settings(RootCertificates::default()));
        let error = wary.chain_id().await.unwrap_err();
        assert_eq!(error.label(), "unreachable", "{error}");
        let told = format!("{error} {error:?} {wary:?}");
        assert!(told.contains("certificate") && !told.contains("secret-key-1"), "{told}");

        // The same for people at a command line.
        let trusting = Client::connect(endpoint.clone(), Some(7), &RootCertificates::from_file(&file).unwrap()).await;
        assert_eq!(trusting.map(|client| client.chain_id()), Ok(7), "{scheme}");
        let error = Client::connect(endpoint, Some(7), &RootCertificates::default()).await.err().unwrap();
        let told = format!("{error} {error:?}");
        assert!(told.contains("certificate") && !told.contains("secret-key-1"), "{told}");
    }
}

#[tokio::test]
async fn heads_come_over_a_secure_subscription() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, file) = server("wss", &folder).await;
    let chain = AlloyChain::new(endpoint, settings(RootCertificates::from_file(&file).unwrap()));
    let (told, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let tell = |heard: HeadUpdate| told.send(heard).unwrap();
    let stop = CancellationToken::new();
    let listen = async {
        // The one that is asked for, and the one that is told.
        let first = heads.recv().await.unwrap();
        let second = heads.recv().await.unwrap();
        stop.cancel();
        (first, second)
    };
    let ((first, second), ()) = tokio::join!(listen, chain.follow(&tell, &stop));
    assert!(first.took.is_some() && second.took.is_none());
    assert_eq!(second.head.unwrap().block.hash, B256::repeat_byte(5));
}

#[test]
fn a_file_without_authorities_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let told = |file: &std::path::Path| RootCertificates::from_file(file).unwrap_err();
    assert!(told(&file).starts_with("cannot read"), "{}", told(&file));
    std::fs::write(&file, "nothing").unwrap();
    assert!(told(&file).contains("holds no certificate"), "{}", told(&file));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(told(&file).contains("cannot be used"), "{}", told(&file));
}
