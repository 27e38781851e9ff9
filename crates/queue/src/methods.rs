//! The methods that the kinds of queue share, written once: each macro gives a kind its own, so that none has to stand for
//! another.
//!
//! Each kind has a private `from_share` and `queue()`, the [`Queue`](crate::Queue) that does the work.

/// What every kind has: a builder, a name, put and get, and the way to another process.
macro_rules! methods_of_all {
    ($Kind:ident, $flavor:expr, $got:literal) => {
        impl<T> $Kind<T> {
            /// Begins a queue with more than the usual choices: its capacity, its name, the memory that it may use.
            pub fn builder() -> $crate::Builder<Self> {
                $crate::Builder::new($flavor, Self::from_share)
            }

            /// Opens the queue of this name, which a program of this user made with [`Builder::named`](crate::Builder::named).
            /// Python has no counterpart.
            ///
            /// # Errors
            ///
            /// There is none, or it is refused, for instance for its kind or for its type of message: the error says why.
            pub fn open(name: &str) -> Result<Self, $crate::OpenError>
            where
                T: serde::de::DeserializeOwned,
            {
                Self::builder().named(name).open()
            }

            /// Returns whether no value waits (Python: `empty`, which can still be true after a `put`; this one is not).
            pub fn is_empty(&self) -> bool {
                self.queue().share().look_to_count().is_empty()
            }

            /// Ends puts through this handle (Python: `close`). It concerns neither other handles, clones of this one included,
            /// nor consumers: a blocked `get` stays blocked.
            pub fn close(&self) {
                self.queue().set_closed();
            }

            /// Returns whether this handle was [closed](Self::close). A [shutdown](crate::Queue::shutdown) closes no handle.
            pub fn is_closed(&self) -> bool {
                self.queue().was_closed()
            }
        }

        impl<T: serde::Serialize + serde::de::DeserializeOwned> $Kind<T> {
            /// Puts a value; waits while a bounded queue is full, and while the queue's memory is used up (Python: `put`).
            ///
            /// # Errors
            ///
            /// The queue can never hold the value: it was shut down, this handle was closed, the value can't be encoded or is too long, or
            /// no memory that could come free is enough. The error gives the value back.
            pub fn put(&self, value: T) -> Result<(), $crate::PutError<T>> {
                self.queue().put_by(value, Deadline::NEVER)
            }

            /// Puts a value if there is room now (Python: `put_nowait`).
            ///
            /// # Errors
            ///
            /// [`Full`](crate::PutError::Full), [`NoMemory`](crate::PutError::NoMemory) if there is none now, or as
            /// [`put`](Self::put).
            pub fn try_put(&self, value: T) -> Result<(), $crate::PutError<T>> {
                self.queue().put_by(value, Deadline::NOW)
            }

            /// Puts a value; waits at most `timeout` for room (Python: `put(timeout=…)`).
            ///
            /// # Errors
            ///
            /// [`Timeout`](crate::PutError::Timeout), [`NoMemory`](crate::PutError::NoMemory) if there was none until then, or as
            /// [`put`](Self::put).
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), $crate::PutError<T>> {
                self.queue().put_by(value, Deadline::after(timeout))
            }

            /// Gets the oldest value; waits while there is none (Python: `get`).
            ///
            #[doc = $got]
            ///
            /// # Errors
            ///
            /// There never will be a value, or a message makes no `T`. That message is out of the queue then.
            ///
            /// # Panics
            ///
            /// Only if `T`'s own `Deserialize` does.
            pub fn get(&self) -> Result<T, $crate::GetError> {
                self.queue().get_by(Deadline::NEVER)
            }

            /// Gets the oldest value if there is one now (Python: `get_nowait`).
            ///
            /// # Errors
            ///
            /// [`Empty`](crate::GetError::Empty), or as [`get`](Self::get).
            pub fn try_get(&self) -> Result<T, $crate::GetError> {
                self.queue().get_by(Deadline::NOW)
            }

            /// Gets the oldest value; waits at most `timeout` for one (Python: `get(timeout=…)`).
            ///
            /// # Errors
            ///
            /// [`Timeout`](crate::GetError::Timeout), or as [`get`](Self::get).
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, $crate::GetError> {
                self.queue().get_by(Deadline::after(timeout))
            }
        }

        impl<T: serde::de::DeserializeOwned> $crate::Typed for $Kind<T> {
            type Message = T;
        }

        impl<T> serde::Serialize for $Kind<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.queue().share().serialize(serializer)
            }
        }

        impl<'de, T> serde::Deserialize<'de> for $Kind<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from_share(Share::deserialize(deserializer, $flavor)?))
            }
        }
    };
}

/// What a `Queue` and a `JoinableQueue` have besides.
macro_rules! methods_of_both {
    ($Kind:ident, $name:literal, $ends:literal) => {
        impl<T> $Kind<T> {
            /// Makes a queue for at most `capacity` values, exactly: 1 to 4,194,304 (Python:
            #[doc = concat!("`", $name, "(maxsize)`).")]
            ///
            /// # Errors
            ///
            /// The capacity is out of bounds, or the system has no memory or descriptors left.
            pub fn bounded(capacity: u32) -> Result<Self, $crate::OpenError> {
                Self::builder().bounded(capacity).build()
            }

            /// Makes a queue whose puts never wait while memory lasts (Python:
            #[doc = concat!("`", $name, "()`).")]
            ///
            /// # Errors
            ///
            /// The system has no memory or descriptors left.
            pub fn unbounded() -> Result<Self, $crate::OpenError> {
                Self::builder().build()
            }

            // What only reads asks the attachment that a forked copy inherited, which needs no place of its own for that.

            /// Returns the number of values waiting, at some moment during the call (Python: `qsize`, which some systems lack).
            pub fn len(&self) -> usize {
                self.queue().share().look_to_count().len()
            }

            /// Returns whether a put would have to wait for a slot (Python: `full`). Never true for an unbounded queue, whose
            /// puts wait for memory alone.
            pub fn is_full(&self) -> bool {
                let attachment = self.queue().share();
                attachment.shape.bounded && !attachment.channel.ring().has_room()
            }

            /// Returns how many values can wait at once; `None` for an unbounded queue.
            pub fn capacity(&self) -> Option<usize> {
                self.queue().share().capacity()
            }

            /// Returns at once, since every value is in the queue when its put returns (Python: `join_thread`, which waits for
            /// the background thread that writes what was put).
            ///
            /// # Errors
            ///
            /// The handle is not closed (Python: `AssertionError`).
            pub fn join_thread(&self) -> Result<(), $crate::JoinThreadError> {
                if self.is_closed() { Ok(()) } else { Err($crate::JoinThreadError::NotClosed) }
            }

            /// Changes nothing, since the end of a process waits for no buffer (Python: `cancel_join_thread`, which lets a
            /// process end without writing what it has put).
            pub fn cancel_join_thread(&self) {}

            /// Ends puts for every process. Gets drain what is left, then return [`ShutDown`](crate::GetError::ShutDown), blocked
            /// ones too (Python 3.13: `queue.Queue.shutdown`, not in `multiprocessing`).
            #[doc = $ends]
            pub fn shutdown(&self) {
                self.queue().share().channel.shut_down();
            }

            /// Returns whether some process has [shut the queue down](Self::shutdown). Values may still wait in it.
            pub fn is_shut_down(&self) -> bool {
                self.queue().share().channel.is_shut_down()
            }
        }

        impl<T: serde::Serialize + serde::de::DeserializeOwned> $Kind<T> {
            /// Puts all values in order and returns their number; waits as [`put`](Self::put). Python has no counterpart.
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            #[doc = concat!("# let queue = multiproc::", $name, "::bounded(3)?;")]
            /// queue.shutdown();
            /// // The error gives the iterator back, even one without end.
            /// let mut error = queue.put_many(0..).unwrap_err();
            /// assert_eq!((error.put, error.error.into_inner(), error.rest.next()), (0, 0, Some(1)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// One value could not be put. The error says how many were, and gives back that value and the iterator with the
            /// others.
            pub fn put_many<I>(&self, values: I) -> Result<usize, $crate::PutManyError<I::IntoIter>>
            where
                I: IntoIterator<Item = T>,
            {
                self.queue().put_many_by(values.into_iter(), Deadline::NEVER)
            }

            /// Puts values in order for as long as there is room now, without waiting.
            ///
            /// # Errors
            ///
            /// As [`put_many`](Self::put_many), with the error of [`try_put`](Self::try_put) for the first value without room.
            pub fn try_put_many<I>(&self, values: I) -> Result<usize, $crate::PutManyError<I::IntoIter>>
            where
                I: IntoIterator<Item = T>,
            {
                self.queue().put_many_by(values.into_iter(), Deadline::NOW)
            }

            /// Puts all values in order; waits at most `timeout` in all.
            ///
            /// # Errors
            ///
            /// As [`put_many`](Self::put_many), with the error of [`put_timeout`](Self::put_timeout) for the value that waited
            /// too long.
            pub fn put_many_timeout<I>(&self, values: I, timeout: Duration) -> Result<usize, $crate::PutManyError<I::IntoIter>>
            where
                I: IntoIterator<Item = T>,
            {
                self.queue().put_many_by(values.into_iter(), Deadline::after(timeout))
            }

            /// Gets up to `max` values: waits for the first as [`get`](Self::get) does, then takes what is there. Python has no
            /// counterpart.
            ///
            /// # Errors
            ///
            /// As `get`, for the first value. A later value that can't be read is an error, too, which holds the values before it.
            ///
            /// # Panics
            ///
            /// As `get`. The values that this call got before are then treated as the one that panicked.
            pub fn get_many(&self, max: usize) -> Result<Vec<T>, $crate::GetManyError<T>> {
                self.queue().get_many_by(max, Deadline::NEVER)
            }

            /// Gets up to `max` of the values that are there now, without waiting.
            ///
            /// # Errors
            ///
            /// As [`get_many`](Self::get_many), with [`Empty`](crate::GetError::Empty) if there is none.
            pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, $crate::GetManyError<T>> {
                self.queue().get_many_by(max, Deadline::NOW)
            }

            /// Gets up to `max` values: waits at most `timeout` for the first, then takes what is there.
            ///
            /// # Errors
            ///
            /// As [`get_many`](Self::get_many), with [`Timeout`](crate::GetError::Timeout) if none came.
            pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>, $crate::GetManyError<T>> {
                self.queue().get_many_by(max, Deadline::after(timeout))
            }

            /// Iterates over the values as [`get`](Self::get) gives them, until the queue is shut down and drained. Python has
            /// `iter(queue.get, None)`.
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            #[doc = concat!("# let queue = multiproc::", $name, "::bounded(3)?;")]
            /// queue.put_many([1, 2, 3])?;
            /// queue.shutdown();
            /// assert_eq!(queue.iter().sum::<u32>(), 6);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// It ends at any other error of a get, too. [`Iter::end`](crate::Iter::end) says at which.
            pub fn iter(&self) -> $crate::Iter<'_, T> {
                $crate::Iter::new(self.queue(), Deadline::NEVER)
            }

            /// Iterates over the values that are there now, as [`try_get`](Self::try_get) gives them, until there is none.
            pub fn try_iter(&self) -> $crate::Iter<'_, T> {
                $crate::Iter::new(self.queue(), Deadline::NOW)
            }
        }

        impl<'q, T: serde::Serialize + serde::de::DeserializeOwned> IntoIterator for &'q $Kind<T> {
            type Item = T;
            type IntoIter = $crate::Iter<'q, T>;

            fn into_iter(self) -> $crate::Iter<'q, T> {
                self.iter()
            }
        }

        impl<T: bytemuck::Pod> $Kind<T> {
            /// Makes room for a message of `count` values, to be written in place; waits for memory as [`put`](Self::put) does.
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            #[doc = concat!("let queue = multiproc::", $name, "::<f32>::bounded(2)?;")]
            /// let loan = queue.loan(1000)?;
            /// assert!(loan.copy_from(0, &[1.5; 1000]));
            /// loan.send()?;
            /// let message = queue.borrow()?;
            /// assert_eq!((message.len(), message.get(999)), (1000, Some(1.5)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As `put`.
            pub fn loan(&self, count: usize) -> Result<$crate::Loan<'_, T>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::IN_PLACE, count, Deadline::NEVER)
            }

            /// Makes room as [`loan`](Self::loan) does if there is memory now.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](crate::PutError::NoMemory) if there is none, or as [`try_put`](Self::try_put).
            pub fn try_loan(&self, count: usize) -> Result<$crate::Loan<'_, T>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::IN_PLACE, count, Deadline::NOW)
            }

            /// Makes room as [`loan`](Self::loan) does; waits at most `timeout` for memory.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](crate::PutError::NoMemory) if there was none until then, or as [`put_timeout`](Self::put_timeout).
            pub fn loan_timeout(&self, count: usize, timeout: Duration) -> Result<$crate::Loan<'_, T>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::IN_PLACE, count, Deadline::after(timeout))
            }

            /// Takes the oldest message to read it in place; waits while there is none.
            ///
            /// # Errors
            ///
            /// As [`get`](Self::get).
            pub fn borrow(&self) -> Result<$crate::Borrowed<'_, T>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::IN_PLACE, Deadline::NEVER)
            }

            /// Takes the oldest message as [`borrow`](Self::borrow) does if there is one now.
            ///
            /// # Errors
            ///
            /// As [`try_get`](Self::try_get).
            pub fn try_borrow(&self) -> Result<$crate::Borrowed<'_, T>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::IN_PLACE, Deadline::NOW)
            }

            /// Takes the oldest message as [`borrow`](Self::borrow) does; waits at most `timeout` for one.
            ///
            /// # Errors
            ///
            /// As [`get_timeout`](Self::get_timeout).
            pub fn borrow_timeout(&self, timeout: Duration) -> Result<$crate::Borrowed<'_, T>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::IN_PLACE, Deadline::after(timeout))
            }
        }

        /// Bytes written and read in place: the same messages as [`put`](Self::put) and [`get`](Self::get) have.
        impl $Kind<Vec<u8>> {
            /// Makes room for a message of `len` bytes, to be written in place, from several parts for instance; waits for memory as
            /// [`put`](Self::put) does.
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            #[doc = concat!("let queue = multiproc::", $name, "::<Vec<u8>>::bounded(2)?;")]
            /// let loan = queue.loan_bytes(11)?;
            /// assert!(loan.copy_from(0, b"header") && loan.copy_from(6, b" body"));
            /// loan.send()?;
            /// assert_eq!(queue.get()?, b"header body");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As `put`. Where a queue carries texts, bytes that are none are refused when they are sent.
            pub fn loan_bytes(&self, len: usize) -> Result<$crate::Loan<'_, u8>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::ENCODED, len, Deadline::NEVER)
            }

            /// Makes room as [`loan_bytes`](Self::loan_bytes) does if there is memory now.
            ///
            /// # Errors
            ///
            /// As [`try_loan`](Self::try_loan).
            pub fn try_loan_bytes(&self, len: usize) -> Result<$crate::Loan<'_, u8>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::ENCODED, len, Deadline::NOW)
            }

            /// Makes room as [`loan_bytes`](Self::loan_bytes) does; waits at most `timeout` for memory.
            ///
            /// # Errors
            ///
            /// As [`loan_timeout`](Self::loan_timeout).
            pub fn loan_bytes_timeout(
                &self,
                len: usize,
                timeout: Duration,
            ) -> Result<$crate::Loan<'_, u8>, $crate::PutError<()>> {
                self.queue().loan_by($crate::queue::ENCODED, len, Deadline::after(timeout))
            }

            /// Takes the oldest message to copy it from where it lies; waits while there is none.
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            #[doc = concat!("let queue = multiproc::", $name, "::bounded(2)?;")]
            /// queue.put(b"0123456789".to_vec())?;
            /// let (message, mut last) = (queue.borrow_bytes()?, [0; 4]);
            /// assert!(message.copy_to(message.len() - last.len(), &mut last));
            /// assert_eq!(&last, b"6789");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`get`](Self::get).
            pub fn borrow_bytes(&self) -> Result<$crate::Borrowed<'_, u8>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::ENCODED, Deadline::NEVER)
            }

            /// Takes the oldest message as [`borrow_bytes`](Self::borrow_bytes) does if there is one now.
            ///
            /// # Errors
            ///
            /// As [`try_get`](Self::try_get).
            pub fn try_borrow_bytes(&self) -> Result<$crate::Borrowed<'_, u8>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::ENCODED, Deadline::NOW)
            }

            /// Takes the oldest message as [`borrow_bytes`](Self::borrow_bytes) does; waits at most `timeout` for one.
            ///
            /// # Errors
            ///
            /// As [`get_timeout`](Self::get_timeout).
            pub fn borrow_bytes_timeout(&self, timeout: Duration) -> Result<$crate::Borrowed<'_, u8>, $crate::GetError> {
                self.queue().borrow_by($crate::queue::ENCODED, Deadline::after(timeout))
            }
        }
    };
}

pub(crate) use {methods_of_all, methods_of_both};
