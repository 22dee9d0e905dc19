//! A wire between two processes that can be cut.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Which way nothing comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What callers send does not arrive.
    Requests,
    /// What is answered does not arrive.
    Answers,
}

/// A TCP proxy. What is held up arrives once the wire is whole again, as packets do that are sent again.
#[derive(Debug)]
pub struct Wire {
    address: String,
    cut: watch::Sender<Option<Cut>>,
}

impl Wire {
    /// A wire to `http://HOST:PORT`.
    pub async fn to(address: &str) -> Self {
        let to = address.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let cut = watch::Sender::new(None);
        tokio::spawn(accept(listener, to, cut.subscribe()));
        Self { address, cut }
    }

    /// Where it begins: `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Cuts it, one way.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(Some(cut));
    }

    /// Makes it whole.
    pub fn mend(&self) {
        self.cut.send_replace(None);
    }
}

async fn accept(listener: TcpListener, to: String, mut cut: watch::Receiver<Option<Cut>>) {
    loop {
        let caller = tokio::select! {
            accepted = listener.accept() => accepted.expect("connections can be accepted").0,
            // Nobody will mend it any more.
            () = gone(&mut cut) => return,
        };
        // As with any server, it may have ended.
        let Ok(called) = TcpStream::connect(&to).await else { continue };
        let (from_caller, to_caller) = caller.into_split();
        let (from_called, to_called) = called.into_split();
        tokio::spawn(carry(from_caller, to_called, Cut::Requests, cut.clone()));
        tokio::spawn(carry(from_called, to_caller, Cut::Answers, cut.clone()));
    }
}

async fn gone(cut: &mut watch::Receiver<Option<Cut>>) {
    while cut.changed().await.is_ok() {}
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Cut,
    mut cut: watch::Receiver<Option<Cut>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if cut.wait_for(|cut| *cut != Some(way)).await.is_err() {
            return Ok(());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
