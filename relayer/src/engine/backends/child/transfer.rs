//! Messages on the socket between the node and a model's process: each behind its length, and large tensors beside it in sealed
//! memory, which is copied once instead of passing through the socket in pieces.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use prost::Message;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::wire::{
    MAX_DATA, Order, OrderKind, Report, Tensor, Trace,
    examine::{Examine, Step},
};

/// Bytes of a tensor that go into memory of their own.
const LARGE: usize = 64 << 10;

/// A message that may have tensors.
pub(in crate::engine::backends) trait Carrier: Message + Default {
    /// Its tensors.
    fn tensors(&mut self) -> &mut [Tensor] {
        &mut []
    }
}

impl Carrier for Order {
    fn tensors(&mut self) -> &mut [Tensor] {
        match &mut self.kind {
            Some(OrderKind::Run(run)) => &mut run.inputs,
            Some(OrderKind::Examine(Examine { step: Some(Step::Input(given)) })) => &mut given.inputs,
            _ => &mut [],
        }
    }
}

impl Carrier for Tensor {
    fn tensors(&mut self) -> &mut [Tensor] {
        std::slice::from_mut(self)
    }
}

impl Carrier for Report {}
impl Carrier for Trace {}

/// Sends a message.
///
/// # Errors
/// `InvalidInput` for tensors of more than `MAX_DATA`, else the socket's.
pub(in crate::engine::backends) async fn send(to: &mut OwnedWriteHalf, mut message: impl Carrier) -> io::Result<()> {
    let Some(memory) = into_memory(message.tensors())? else { return to.write_all(&framed(&message)?).await };
    let frame = framed(&message)?;
    let socket = to.as_ref();
    match socket.async_io(Interest::WRITABLE, || send_with(socket.as_fd(), &frame, memory.as_fd())).await {
        Err(error) if is_crowded(&error) => {
            from_memory(message.tensors(), Some(&memory))?;
            to.write_all(&framed(&message)?).await
        }
        sent => to.write_all(&frame[sent?..]).await,
    }
}

/// Reads a message of `max` bytes at most. Where the other side is gone the error is `UnexpectedEof`.
///
/// # Errors
/// `InvalidData` for what is no such message, else the socket's.
pub(in crate::engine::backends) async fn receive<M: Carrier>(from: &mut OwnedReadHalf, max: u32) -> io::Result<M> {
    let mut head = Head::default();
    while !head.is_whole() {
        let socket = from.as_ref();
        socket.async_io(Interest::READABLE, || head.receive(socket.as_fd())).await?;
    }
    // The buffer grows with what comes, not with what is announced.
    let mut bytes = Vec::new();
    from.take(head.length(max)?).read_to_end(&mut bytes).await?;
    head.message(&bytes, max)
}

/// Sends a message, from the process.
///
/// # Errors
/// As `send`.
pub(in crate::engine::backends) fn write(mut to: &UnixStream, mut message: impl Carrier) -> io::Result<()> {
    let Some(memory) = into_memory(message.tensors())? else { return to.write_all(&framed(&message)?) };
    let frame = framed(&message)?;
    match send_with(to.as_fd(), &frame, memory.as_fd()) {
        Err(error) if is_crowded(&error) => {
            from_memory(message.tensors(), Some(&memory))?;
            to.write_all(&framed(&message)?)
        }
        sent => to.write_all(&frame[sent?..]),
    }
}

/// Reads a message, in the process.
///
/// # Errors
/// As `receive`.
pub(in crate::engine::backends) fn read<M: Carrier>(from: &UnixStream) -> io::Result<M> {
    let mut head = Head::default();
    while !head.is_whole() {
        match head.receive(from.as_fd()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => received?,
        }
    }
    let mut bytes = Vec::new();
    from.take(head.length(MAX_DATA)?).read_to_end(&mut bytes)?;
    head.message(&bytes, MAX_DATA)
}

/// The message as it goes over the socket.
fn framed(message: &impl Message) -> io::Result<Vec<u8>> {
    let length = u32::try_from(message.encoded_len()).ok().filter(|length| *length <= MAX_DATA);
    let length = length.ok_or_else(too_large)?;
    let mut frame = Vec::with_capacity(4 + length as usize);
    frame.extend(length.to_le_bytes());
    message.encode_raw(&mut frame);
    Ok(frame)
}

/// Whether no file can be sent because too many are on their way for this user: a hostile process may leave its own unread.
/// The data goes over the socket then.
fn is_crowded(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error())
}

fn too_large() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "tensors of more than 256 MiB")
}

fn nonsense(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

/// Sends the beginning of a frame together with memory.
fn send_with(socket: BorrowedFd<'_>, frame: &[u8], memory: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let memory = [memory];
    if !control.push(SendAncillaryMessage::ScmRights(&memory)) {
        return Err(nonsense("no room for memory beside a message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The length of a message, and the memory that came with it.
#[derive(Default)]
struct Head {
    bytes: [u8; 4],
    got: usize,
    memory: Option<File>,
}

impl Head {
    fn is_whole(&self) -> bool {
        self.got == self.bytes.len()
    }

    fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut rest = [IoSliceMut::new(&mut self.bytes[self.got..])];
        let received = recvmsg(socket, &mut rest, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                self.memory = files.next().map(File::from);
            }
        }
        if received.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.got += received.bytes;
        Ok(())
    }

    fn length(&self, max: u32) -> io::Result<u64> {
        let length = u32::from_le_bytes(self.bytes);
        if length > max {
            return Err(nonsense(format!("a message of {length} bytes")));
        }
        Ok(length.into())
    }

    fn message<M: Carrier>(self, bytes: &[u8], max: u32) -> io::Result<M> {
        if (bytes.len() as u64) < self.length(max)? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut message = M::decode(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        from_memory(message.tensors(), self.memory.as_ref())?;
        Ok(message)
    }
}

/// Moves the data of large tensors into memory that nobody can change any more, where the system has such.
fn into_memory(tensors: &mut [Tensor]) -> io::Result<Option<File>> {
    let mut large = tensors.iter_mut().filter(|tensor| tensor.data.len() >= LARGE).peekable();
    if !cfg!(target_os = "linux") || large.peek().is_none() {
        return Ok(None);
    }
    let mut memory = sealed::create()?;
    let mut total = 0;
    for tensor in large {
        total += tensor.data.len();
        if total > MAX_DATA as usize {
            return Err(too_large());
        }
        memory.write_all(&tensor.data)?;
        tensor.in_memory = tensor.data.len() as u64;
        tensor.data = Vec::new();
    }
    sealed::close(&mut memory)?;
    Ok(Some(memory))
}

/// Reads that data back. Whoever sent it may be hostile: the memory must be what it is said to be, and stay so.
fn from_memory(tensors: &mut [Tensor], memory: Option<&File>) -> io::Result<()> {
    let total = tensors.iter().try_fold(0u64, |total, tensor| total.checked_add(tensor.in_memory));
    let total =
        total.filter(|total| *total <= MAX_DATA.into()).ok_or_else(|| nonsense("more data than there can be"))?;
    if total == 0 {
        return Ok(());
    }
    let memory = memory.filter(|memory| sealed::holds(memory, total));
    let memory = memory.ok_or_else(|| nonsense("tensors without the sealed memory that holds them"))?;
    for tensor in tensors.iter_mut().filter(|tensor| tensor.in_memory > 0) {
        if !tensor.data.is_empty() {
            return Err(nonsense("a tensor with its data in two places"));
        }
        let length = std::mem::take(&mut tensor.in_memory);
        tensor.data = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        if memory.take(length).read_to_end(&mut tensor.data)? as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Memory that goes from process to process.
#[cfg(target_os = "linux")]
mod sealed {
    use std::{
        fs::File,
        io::{self, Seek},
    };

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};

    /// All that would change the memory.
    const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

    pub(super) fn create() -> io::Result<File> {
        Ok(memfd_create("tensors", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
    }

    pub(super) fn close(memory: &mut File) -> io::Result<()> {
        memory.rewind()?;
        Ok(fcntl_add_seals(memory, SEALS)?)
    }

    /// Whether a file is such memory of this size.
    pub(super) fn holds(memory: &File, bytes: u64) -> bool {
        let is_sealed = fcntl_get_seals(memory).is_ok_and(|seals| seals.contains(SEALS));
        is_sealed && fstat(memory).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(bytes))
    }
}

/// Without sealed memory all goes over the socket.
#[cfg(not(target_os = "linux"))]
mod sealed {
    use std::{fs::File, io};

    pub(super) fn create() -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn close(_: &mut File) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn holds(_: &File, _: u64) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(bytes: usize) -> Tensor {
        Tensor { dtype: 2, dims: vec![bytes as u32], data: vec![7; bytes], ..Tensor::default() }
    }

    /// Sends what `send` sends, and reads it as the process does.
    fn received(send: impl FnOnce(&UnixStream) + Send + 'static) -> io::Result<Tensor> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sender = std::thread::spawn(move || send(&ours));
        let received = read(&theirs);
        drop(theirs);
        sender.join().unwrap();
        received
    }

    #[test]
    fn small_and_large_tensors_come_as_they_were() {
        for bytes in [0, 1, LARGE - 1, LARGE, LARGE + 1, 5 << 20] {
            let sent = tensor(bytes);
            assert_eq!(received(move |socket| write(socket, sent).unwrap()).unwrap(), tensor(bytes), "{bytes}");
        }
    }

    #[tokio::test]
    async fn the_node_and_the_process_read_each_other() {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        let process = tokio::task::spawn_blocking(move || {
            let tensor: Tensor = read(&theirs).unwrap();
            write(&theirs, tensor).unwrap();
        });
        let (mut reader, mut writer) = ours.into_split();
        send(&mut writer, tensor(3 << 20)).await.unwrap();
        assert_eq!(receive::<Tensor>(&mut reader, MAX_DATA).await.unwrap(), tensor(3 << 20));
        process.await.unwrap();
    }

    #[test]
    fn tensors_come_back_from_memory_that_cannot_be_sent() {
        let mut tensors = [tensor(LARGE), tensor(3), tensor(2 * LARGE)];
        let memory = into_memory(&mut tensors).unwrap();
        from_memory(&mut tensors, memory.as_ref()).unwrap();
        assert_eq!(tensors, [tensor(LARGE), tensor(3), tensor(2 * LARGE)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_not_sealed_or_not_as_long_as_said_is_refused() {
        let sends = |length: u64, said: u64, is_sealed: bool, inline: usize| {
            received(move |socket| {
                let mut memory = sealed::create().unwrap();
                memory.write_all(&vec![7; length as usize]).unwrap();
                if is_sealed {
                    sealed::close(&mut memory).unwrap();
                }
                let message = Tensor { in_memory: said, data: vec![1; inline], ..tensor(0) };
                let frame = framed(&message).unwrap();
                assert_eq!(send_with(socket.as_fd(), &frame, memory.as_fd()).unwrap(), frame.len());
            })
        };
        assert_eq!(sends(100, 100, true, 0).unwrap().data.len(), 100);
        assert!(sends(100, 100, false, 0).is_err());
        assert!(sends(100, 99, true, 0).is_err());
        assert!(sends(100, 101, true, 0).is_err());
        assert!(sends(100, u64::MAX, true, 0).is_err());
        assert!(sends(100, 100, true, 1).is_err());
        let without = Tensor { in_memory: 5, ..tensor(0) };
        assert!(received(move |socket| drop((&mut &*socket).write_all(&framed(&without).unwrap()))).is_err());
        // A file of the disk is no memory.
        let on_disk = received(|socket| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(100).unwrap();
            let frame = framed(&Tensor { in_memory: 100, ..tensor(0) }).unwrap();
            send_with(socket.as_fd(), &frame, file.as_fd()).unwrap();
        });
        assert!(on_disk.is_err());
    }
}
