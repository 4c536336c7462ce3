//! Calls over HTTP/1.1: as much of it as JSON-RPC clients speak.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::{Backend, Reply, message, parse};
use crate::Res;

/// Serves one connection.
pub(super) async fn serve<B: Backend>(stream: TcpStream, backend: Arc<B>) -> Res<()> {
    let mut stream = BufStream::new(stream);
    while let Some(body) = request(&mut stream).await? {
        let called = parse(&body)?;
        let reply = backend.call(&called.method, called.params).await;
        let (status, body) = match &reply {
            Reply::Cut => return Ok(()),
            Reply::Silence => std::future::pending().await,
            Reply::Status(code) => (*code, String::new()),
            told => (200, message(&called.id, told).unwrap_or_default()),
        };
        let head = format!(
            "HTTP/1.1 {status} so\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The body of the next request; `None` where the client closed.
async fn request(stream: &mut BufStream<TcpStream>) -> Res<Option<Vec<u8>>> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.ok_or("a call without a length")?];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}
