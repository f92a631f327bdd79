//! Bytes and descriptors on a Unix socket. Descriptors that arrive are closed in programs that the daemon runs.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::connection::socket::ReadHalf;
use zbus::export::async_trait::async_trait;

/// Bytes of an oversized message that are read and dropped at a time.
const CHUNK: usize = 1 << 18;

/// Most descriptors of one read; the kernel passes no more.
const MOST_AT_ONCE: usize = 253;

/// Reads bytes and descriptors, of which zbus makes messages.
#[derive(Debug)]
pub(super) struct Raw(pub Arc<UnixStream>);

#[async_trait]
impl ReadHalf for Raw {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let stream = &self.0;
        let receive = || receive(stream.as_fd(), buffer);
        stream.async_io(Interest::READABLE, receive).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

impl Raw {
    /// Reads until `bytes` has at least `wanted`, and no more than those.
    pub(super) async fn fill(
        &mut self,
        bytes: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
        wanted: usize,
    ) -> io::Result<()> {
        while bytes.len() < wanted {
            let begin = bytes.len();
            bytes.resize(wanted, 0);
            let received = self.recvmsg(&mut bytes[begin..]).await;
            let count = received.as_ref().map_or(0, |(count, _)| *count);
            bytes.truncate(begin + count);
            descriptors.extend(received?.1);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Drops `count` bytes, those in `bytes` first. It reads in large chunks, because messages of other clients have to
    /// wait meanwhile.
    pub(super) async fn skip(
        &mut self,
        bytes: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
        count: usize,
    ) -> io::Result<()> {
        let mut left = count - bytes.len().min(count);
        bytes.drain(..count - left);
        let mut chunk = vec![0; left.min(CHUNK)];
        while left > 0 {
            let wanted = left.min(chunk.len());
            let (dropped, passed) = self.recvmsg(&mut chunk[..wanted]).await?;
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= dropped;
            descriptors.extend(passed);
        }
        Ok(())
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_AT_ONCE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok((received.bytes, descriptors))
}

/// Sends bytes, and descriptors with the first of them; returns the number of bytes sent.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    buffer: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(buffer)];
    Ok(sendmsg(
        socket,
        &parts,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}
