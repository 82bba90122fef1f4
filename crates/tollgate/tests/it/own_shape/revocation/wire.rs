//! A TCP connection's way that can be held, where bytes stay where they are and nobody is told, and that can be led elsewhere.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Forwards connections for as long as the test runs.
pub(super) struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    target: SocketAddr,
    open: bool,
}

impl Wire {
    /// A way to `target`.
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = watch::Sender::new(State { target, open: true });
        tokio::spawn(serve(listener, state.subscribe()));
        Self { address, state }
    }

    /// Where to connect instead.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, and nothing is closed.
    pub(super) fn hold(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    /// Connections end, and those that are made from now on lead to `target`.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }
}

async fn serve(listener: TcpListener, state: watch::Receiver<State>) {
    while let Ok((near, _)) = listener.accept().await {
        let mut led = state.clone();
        let target = led.borrow_and_update().target;
        let state = state.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connect(near, target, state) => {}
                // Or the test is over.
                _ = led.wait_for(|state| state.target != target) => {}
            }
        });
    }
}

async fn connect(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    if state.wait_for(|state| state.open).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("it is a TCP socket");
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(carry(near_read, far_write, state.clone()), carry(far_read, near_write, state));
}

/// One direction. Its end is held like everything else.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        // The test is over if nobody can open it any more.
        if state.wait_for(|state| state.open).await.is_err() || count == 0 {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
