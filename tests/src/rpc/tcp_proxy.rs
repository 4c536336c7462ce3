//! A TCP proxy before an endpoint that can be cut and mended.

use std::sync::Arc;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{Res, rpc::Local};

/// The proxy; it ends when dropped.
#[derive(Debug)]
pub struct TcpProxy {
    /// Where it listens.
    pub local: Local,
    open: Arc<watch::Sender<bool>>,
    task: tokio::task::JoinHandle<()>,
}

impl TcpProxy {
    /// A proxy to a port of this machine.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn to(target: u16) -> Res<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let local = Local { port: listener.local_addr()?.port() };
        let open = Arc::new(watch::Sender::new(true));
        let switch = open.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = switch.subscribe();
                if !*state.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Ok(Self { local, open, task })
    }

    /// Breaks all connections and takes no new ones.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
