//! The socket: one request a connection, a few connections at a time.

use super::handle::{self, Out};
use super::request::{Request, error};
use super::{Admin, socket_path};
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_BYTES_MAX, ADMIN_TIMEOUT};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The open socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the admin socket stays behind");
        }
    }
}

/// Opens the socket of a data folder and serves it. To be called within a runtime, by the only server of that folder: what is left of one
/// that was killed is replaced.
///
/// # Errors
///
/// Where the socket cannot be made: mostly a path that is longer than the system allows (about 100 bytes).
pub fn open(data: &Path, admin: Admin) -> io::Result<Socket> {
    let path = socket_path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made under a name that nobody looks for, and shown when only its owner may open it.
    let hidden = data.join("admin.new");
    match std::fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, &path)?;
    let task = tokio::spawn(accept(listener, admin));
    Ok(Socket { path, task })
}

async fn accept(listener: UnixListener, admin: Admin) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = answer(stream, &admin).await {
                        tracing::debug!(%error, "an admin tool went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket takes nobody in");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, admin: &Admin) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut out = Out::new(writer);
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(ADMIN_REQUEST_BYTES_MAX as u64));
    tokio::time::timeout(ADMIN_TIMEOUT, reader.read_line(&mut line)).await??;
    let last = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match handle::handle(admin, request, &mut out).await {
            Ok(Some(last)) => last,
            // It has said its last itself.
            Ok(None) => return out.finish().await,
            Err(handle::HandleError::Gone(gone)) => return Err(gone),
            Err(refused) => error(refused.code(), &refused.to_string()),
        },
        Err(why) => error("usage", &why.to_string()),
    };
    out.line(&last).await?;
    out.finish().await
}
