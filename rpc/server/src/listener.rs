//! Connections: accepted, bounded in number and in patience, closed gracefully.

use crate::{
    gateway::{Door, Gateway, Peer},
    limits,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// A server that is running; dropped, it goes on.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections and lets answers under way finish, for half a second at most.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

pub(crate) fn start(listener: TcpListener, gateway: Gateway) -> io::Result<Running> {
    let addr = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(accept(listener, gateway, stopped));
    Ok(Running { addr, stop, task })
}

async fn accept(listener: TcpListener, gateway: Gateway, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, addr)) => {
                // Beyond the limit a connection is closed at once rather than left waiting.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (door, stopped) = (gateway.door(Peer::of(addr.ip())), stopped.clone());
                tokio::spawn(async move {
                    serve(stream, door, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a control connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    gateway.stop();
    let all = places.acquire_many(limits::CONNECTIONS as u32);
    let _ = tokio::time::timeout(limits::STOP_PATIENCE, all).await;
}

async fn serve(stream: TcpStream, door: Door, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        // transmission-remote 3.00 looks for the session id's header in this spelling only.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(door))
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("control connection: {error}");
    }
}
