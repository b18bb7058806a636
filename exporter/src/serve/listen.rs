//! Where the server listens: TCP addresses and unix sockets.
//!
//! Called by [`super::Server`]. A unix socket's file is removed when the server ends; a stale one, to which nobody
//! listens any more, is replaced.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;

/// An address to listen on.
///
/// ```
/// use tachograph_exporter::serve::Listen;
/// assert_eq!("localhost:9000".parse::<Listen>().unwrap().to_string(), "localhost:9000");
/// assert_eq!("unix:/run/tacho.sock".parse::<Listen>().unwrap().to_string(), "unix:/run/tacho.sock");
/// assert_eq!(":9000".parse::<Listen>().unwrap().to_string(), "[::]:9000");
/// assert!("9000".parse::<Listen>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// Host and port.
    Tcp(String),
    /// A unix socket at a path.
    Unix(PathBuf),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp("127.0.0.1:10110".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to listen on: give HOST:PORT, :PORT or unix:PATH")]
pub struct ListenError(String);

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ListenError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if port.parse::<u16>().is_err() || (host.contains(':') && !bracketed) || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self::Tcp(if host.is_empty() { format!("[::]:{port}") } else { text.to_owned() }))
    }
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {remedy}", remedy = remedy(source))]
pub struct BindError {
    address: String,
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something listens there already; end it, or choose another address with --web.listen-address"
        }
        io::ErrorKind::PermissionDenied => "choose a port above 1023 or a writable directory with --web.listen-address",
        _ => "choose another address with --web.listen-address",
    }
}

impl Listen {
    pub(super) async fn bind(&self) -> Result<Listener, BindError> {
        let bound = match self {
            Self::Tcp(address) => bind_tcp(address).await,
            Self::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|source| BindError { address: self.to_string(), source })
    }
}

async fn bind_tcp(address: &str) -> io::Result<Listener> {
    let bound = match (TcpListener::bind(address).await, address.strip_prefix("[::]:")) {
        // A kernel without IPv6.
        (Err(error), Some(port)) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await.map_err(|_| error)
        }
        (bound, _) => bound,
    }?;
    let address = bound.local_addr()?;
    Ok(Listener::Tcp(bound, address))
}

async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && tokio::net::UnixStream::connect(path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    Ok(Listener::Unix(UnixListener::bind(path)?, path.to_owned()))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process of this machine, by a loopback address or a unix socket.
    Local,
    /// Any other.
    Remote,
}

impl Peer {
    const fn at(address: &std::net::SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() { Self::Local } else { Self::Remote }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    /// A TCP socket and its address.
    Tcp(TcpListener, std::net::SocketAddr),
    /// A unix socket and its path.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => address.to_string(),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Whether only processes of this machine reach it.
    pub(super) const fn is_private(&self) -> bool {
        match self {
            Self::Tcp(_, address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(..) => true,
        }
    }

    pub(super) fn url(&self) -> Option<String> {
        let Self::Tcp(_, address) = self else { return None };
        // "All interfaces" is no place to go to.
        let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("http://{host}:{}", address.port()))
    }

    /// Accepts connections until the server is `ending`.
    pub(super) async fn serve(self, router: axum::Router, connections: Arc<Connections>, ending: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&router, &connections, &ending) => accepted,
                () = ending.cancelled() => break,
            };
            if let Err(error) = accepted {
                match error.kind() {
                    // The other end gave up while it waited.
                    io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused => {}
                    _ => {
                        tracing::error!(address = %self.address(), %error, "can't accept a connection");
                        // Out of descriptors, as a rule: the connection waits, and trying at once would only spin.
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                }
            }
        }
        if let Self::Unix(_, path) = &self {
            // Left there, it would only look alive.
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(
        &self,
        router: &axum::Router,
        connections: &Arc<Connections>,
        ending: &CancellationToken,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                connections.take(stream, Peer::at(&address), router, ending.clone());
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                connections.take(stream, Peer::Local, router, ending.clone());
            }
        }
        Ok(())
    }
}

/// How long to wait after a connection could not be accepted.
const ACCEPT_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
