//! What users do with an end, written once for `Connection`, `Sender` and `Receiver`. Each is a handle as its field `0`.

/// The methods of an end that sends bytes.
macro_rules! send_bytes {
    () => {
        /// Sends bytes as they are (Python: `send_bytes`). Waits while the pipe is full.
        ///
        /// # Errors
        ///
        /// The other end is closed or its process is dead, the message is longer than 1 GiB (`MAX_MESSAGE`), or this end is
        /// another process's.
        pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
            self.0.send_bytes(bytes, Deadline::NEVER)
        }

        /// Sends bytes as they are, without waiting for the other end. Python has nothing like it. A message of more than about 32 KiB
        /// goes in a memory file of its own.
        ///
        /// # Errors
        ///
        /// [`SendError::Full`], or as [`send_bytes`](Self::send_bytes). Nothing was sent then.
        pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
            self.0.send_bytes(bytes, Deadline::NOW)
        }

        /// Sends bytes as they are; waits at most `timeout` for room. Python has nothing like it. The other end never sees a part of a
        /// message. But after a time-out in the middle of a large one, the part that was written takes up room until the other end
        /// receives again.
        ///
        /// # Errors
        ///
        /// [`SendError::Timeout`], or as [`send_bytes`](Self::send_bytes). Nothing was sent then.
        pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
            self.0.send_bytes(bytes, Deadline::after(timeout))
        }
    };
}

/// The methods of an end that sends values.
macro_rules! send_values {
    ($value:ident) => {
        /// Sends a value, or what it lends: a `&str` for a `String`, a slice for a `Vec` (Python: `send`). Waits while
        /// the pipe is full; a value larger than the pipe streams through it.
        ///
        /// `Ok` says that the value is in the pipe. It does not say that the other process receives it: that process may die first.
        ///
        /// # Errors
        ///
        /// The other end is closed or its process is dead, the value refuses to be encoded or is longer than
        /// 1 GiB (`MAX_MESSAGE`), or this end is another process's. Nothing was sent, and ends of pipes inside the value are
        /// still here.
        pub fn send<Q>(&self, value: &Q) -> Result<(), SendError>
        where
            $value: Lends<Q>,
            Q: Serialize + ?Sized,
        {
            self.0.send::<$value, Q>(value, Deadline::NEVER)
        }

        /// Sends a value of any size as [`send`](Self::send) does, but does not wait for the other end. Python has nothing like it. A value
        /// of more than about 32 KiB goes in a memory file of its own.
        ///
        /// # Errors
        ///
        /// [`SendError::Full`], or as [`send`](Self::send). Nothing was sent then.
        pub fn try_send<Q>(&self, value: &Q) -> Result<(), SendError>
        where
            $value: Lends<Q>,
            Q: Serialize + ?Sized,
        {
            self.0.send::<$value, Q>(value, Deadline::NOW)
        }

        /// Sends a value of any size as [`send`](Self::send) does, but waits at most `timeout` for room. Python has nothing like it. The
        /// other end never sees a part of a value. But after a time-out in the middle of a large one, the part that was written takes up
        /// room until the other end receives again.
        ///
        /// # Errors
        ///
        /// [`SendError::Timeout`], or as [`send`](Self::send). Nothing was sent then.
        pub fn send_timeout<Q>(&self, value: &Q, timeout: Duration) -> Result<(), SendError>
        where
            $value: Lends<Q>,
            Q: Serialize + ?Sized,
        {
            self.0.send::<$value, Q>(value, Deadline::after(timeout))
        }
    };
}

/// The methods of an end that receives bytes, and those that wait for anything.
macro_rules! recv_bytes {
    () => {
        /// Receives the bytes of one message, up to 1 GiB (`MAX_MESSAGE`) of them (Python: `recv_bytes`). Waits for one.
        /// Descriptors that came with it are dropped.
        ///
        /// # Errors
        ///
        /// There never will be one, or it is too long.
        pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
            self.0.recv_bytes(MAX_MESSAGE, Deadline::NEVER)
        }

        /// Receives the bytes of one message if one is there now (Python: `poll()` and `recv_bytes`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Empty`], or as [`recv_bytes`](Self::recv_bytes).
        pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
            self.0.recv_bytes(MAX_MESSAGE, Deadline::NOW)
        }

        /// Receives the bytes of one message; waits at most `timeout` (Python: `poll(timeout)` and `recv_bytes`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Timeout`], or as [`recv_bytes`](Self::recv_bytes).
        pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
            self.0.recv_bytes(MAX_MESSAGE, Deadline::after(timeout))
        }

        /// Receives the bytes of one message, up to `max` of them; waits at most `timeout`, or for ever if it is `None` (Python:
        /// `recv_bytes(maxlength)`). A longer message is skipped, and the pipe goes on; Python's is unusable then.
        ///
        /// # Errors
        ///
        /// [`RecvError::TooLong`], [`RecvError::Timeout`], or as [`recv_bytes`](Self::recv_bytes).
        pub fn recv_bytes_max(&self, max: usize, timeout: impl Into<Option<Duration>>) -> Result<Vec<u8>, RecvError> {
            self.0.recv_bytes(max, deadline(timeout))
        }

        /// Receives one message into `buffer`; returns its length in bytes (Python: `recv_bytes_into`). Waits for one.
        ///
        /// # Errors
        ///
        /// There never will be one; or the buffer is too short, and the error holds the message.
        pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
            self.0.recv_bytes_into(buffer, Deadline::NEVER)
        }

        /// Receives one message into `buffer` if one is there now; returns its length in bytes (Python: `poll()` and `recv_bytes_into`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Empty`], or as [`recv_bytes_into`](Self::recv_bytes_into).
        pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
            self.0.recv_bytes_into(buffer, Deadline::NOW)
        }

        /// Receives one message into `buffer`; returns its length in bytes. Waits at most `timeout` (Python: `poll(timeout)` and
        /// `recv_bytes_into`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Timeout`], or as [`recv_bytes_into`](Self::recv_bytes_into).
        pub fn recv_bytes_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvIntoError> {
            self.0.recv_bytes_into(buffer, Deadline::after(timeout))
        }

        /// Whether there is something to receive, or comes within `timeout`; `None` waits for ever (Python: `poll`). True at the end too,
        /// since `recv` does not wait then.
        ///
        /// A message of more than about 16 KiB comes in parts. The first one makes this true, as in Python; `recv` then waits for the
        /// others, and [`recv_timeout`](Self::recv_timeout) for no longer than it is told.
        ///
        /// # Errors
        ///
        /// The pipe is corrupt, or this end is another process's.
        pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, RecvError> {
            self.0.poll(deadline(timeout))
        }

        /// A descriptor that is readable while there is something to receive, for `epoll`, `poll` and `select` (Python: `fileno`, for
        /// `multiprocessing.connection.wait`). That may be a part of a message, as for [`poll`](Self::poll). Only wait for it; reading it
        /// breaks the promise.
        ///
        /// From the first call on each message costs its sender a system call more, and the end takes two descriptors more.
        /// [`AsFd`] gives the same descriptor; where this is an error, it gives a file, which `poll` finds readable and `epoll` refuses.
        ///
        /// # Errors
        ///
        /// The process or the system has no descriptors left, or this end has moved.
        pub fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
            self.0.readiness()
        }
    };
}

/// The methods of an end that receives values.
macro_rules! recv_values {
    ($value:ident) => {
        /// Receives a value (Python: `recv`). Waits for one.
        ///
        /// # Errors
        ///
        /// There never will be one; the message makes no such value; or this process has no room for its descriptors, and the message stays
        /// in the pipe.
        pub fn recv(&self) -> Result<$value, RecvError> {
            self.0.recv(Deadline::NEVER)
        }

        /// Receives a value if one is there now (Python: `poll()` and `recv`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Empty`], or as [`recv`](Self::recv).
        pub fn try_recv(&self) -> Result<$value, RecvError> {
            self.0.recv(Deadline::NOW)
        }

        /// Receives a value; waits at most `timeout` (Python: `poll(timeout)` and `recv`).
        ///
        /// # Errors
        ///
        /// [`RecvError::Timeout`], or as [`recv`](Self::recv).
        pub fn recv_timeout(&self, timeout: Duration) -> Result<$value, RecvError> {
            self.0.recv(Deadline::after(timeout))
        }
    };
}

/// The methods of every end.
macro_rules! own {
    () => {
        /// A stand-by for this end. It can wait in another process until this end is gone, and takes over then. Python has nothing like it.
        ///
        /// # Errors
        ///
        /// There is one already; or the end has moved, is in use by another process, or is a half.
        pub fn standby(&self) -> Result<Standby<Self>, StandbyError> {
            self.0.stand_by().map(Standby::new)
        }

        /// Closes this end, as dropping it does (Python: `close`). The other end gets
        /// [`Disconnected`](crate::RecvError::Disconnected) after what was sent, unless this end has a stand-by, which takes over then.
        ///
        /// After a `fork`, each process closes the end that it does not need. A copy that was never used leaves the other process's alone.
        pub fn close(self) {}

        #[cfg(feature = "async")]
        pub(crate) fn handle(&self) -> &Handle {
            &self.0
        }
    };
}

/// The methods of every end whose types can be named to another program.
macro_rules! in_descriptor {
    ($types:ty) => {
        /// Moves this end into a descriptor, for a process that you start yourself; [`from_descriptor`](Self::from_descriptor) takes it
        /// out there. This handle says [`Moved`](crate::SendError::Moved) from then on. Python has nothing like it.
        ///
        /// The descriptor goes to the other process in any way that descriptors go. The simplest is the standard input of a
        /// [`Command`](std::process::Command), where no other child can inherit it by accident. Drop the `Command` after `spawn`, since
        /// it keeps the descriptor. If all copies of the descriptor are gone before the end was taken out, the end is closed.
        ///
        /// ```
        /// # use multiproc_pipe as multiproc;
        /// use multiproc::{Connection, pipe};
        /// use std::process::{Command, Stdio};
        ///
        /// # if false {
        /// let (ours, theirs) = pipe::<String>()?;
        /// let worker = Command::new("worker").stdin(Stdio::from(theirs.to_descriptor()?)).spawn()?;
        ///
        /// // In the worker:
        /// let end = Connection::<String>::from_descriptor(std::io::stdin())?;
        /// # }
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        ///
        /// The end has moved, is a half, or is another process's; or the system has no descriptors or memory left. The end is still here
        /// if it was before.
        pub fn to_descriptor(&self) -> Result<OwnedFd, DescriptorError> {
            descriptor::pack::<Self, $types>(self)
        }

        /// Takes the end out that [`to_descriptor`](Self::to_descriptor) moved into a descriptor, which is empty then and can be closed.
        ///
        /// # Errors
        ///
        /// There is no end in it, or one of other types or another kind; or the process has no descriptors left. What is in it stays there.
        pub fn from_descriptor(descriptor: impl AsFd) -> Result<Self, DescriptorError> {
            descriptor::unpack::<Self, $types>(descriptor)
        }
    };
}

pub(crate) use {in_descriptor, own, recv_bytes, recv_values, send_bytes, send_values};
