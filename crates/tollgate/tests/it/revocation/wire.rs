//! A TCP connection's way that can be held: bytes stay where they are, and nobody is told. Packets dropped, not reset.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Forwards connections to one address for as long as the test runs.
pub(super) struct Wire {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Wire {
    /// A way to `target`.
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let open = watch::Sender::new(true);
        tokio::spawn(serve(listener, target, open.subscribe()));
        Self { address, open }
    }

    /// Where to connect instead.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, and nothing is closed.
    pub(super) fn hold(&self) {
        self.open.send_replace(false);
    }

    /// What was held passes, late, and so does what follows.
    pub(super) fn resume(&self) {
        self.open.send_replace(true);
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, open: watch::Receiver<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(connect(near, target, open.clone()));
    }
}

async fn connect(near: TcpStream, target: SocketAddr, mut open: watch::Receiver<bool>) {
    if open.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("it is a TCP socket");
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(carry(near_read, far_write, open.clone()), carry(far_read, near_write, open));
}

/// One direction. Its end is held like everything else.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        // The test is over if nobody can open it any more.
        if open.wait_for(|open| *open).await.is_err() || count == 0 {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
