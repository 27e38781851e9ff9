//! What all public errors have in common: a text that is whole, a chain without repetition, and `Debug` with the variant.

use multiproc::{
    AttachError, ChannelError, CreateError, DecodeError, DescriptorError, EncodeError, Exit, Flaw, GetError, GetManyError,
    JoinError, JoinThreadError, LayoutError, NameError, OpenError, OutOfBounds, ParticipantError, PipeError, PutError,
    PutManyError, Queue, QueueJoinError, RecvIntoError, RemoveError, SignalError, SpawnError, SpawnErrorKind, SpscError,
    StandbyError, TaskDoneError, pipe, queue,
};
use multiproc_ring::{mpmc, spsc};
use multiproc_shm::SegmentName;
use multiproc_sync::{ChannelPopError, ChannelPushError, StreamRecvError, StreamSendError};
use multiproc_travel::pass;
use std::error::Error;
use std::io;
use std::time::Duration;

type Sample = Box<dyn Error>;

/// `ENOSPC`, as the system says it.
fn full() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

fn samples_of_segments() -> Vec<Sample> {
    let segment = || "jobs".to_owned();
    let name = || SegmentName::new("../x").unwrap_err();
    let bounds = || OutOfBounds { offset: 1, len: 2, region: 2 };
    let refused = || AttachError::Refused { segment: segment(), flaw: Flaw::Mode { mode: 0o666 } };
    let unopened = || AttachError::System { segment: segment(), what: "open it", source: full() };
    let uncreated = || CreateError::System { segment: segment(), what: "map it", source: full() };
    let laid_out: [fn() -> LayoutError; 3] =
        [|| LayoutError::Slots { asked: 0 }, || LayoutError::Commit(full()), || LayoutError::Corrupt];
    let channel = || ChannelError::Commit(full());
    let mut samples: Vec<Sample> = vec![
        Box::new(name()),
        Box::new(bounds()),
        Box::new(SpscError::Bounds(bounds())),
        Box::new(ChannelError::Bounds(bounds())),
        Box::new(ChannelError::Spsc(SpscError::Bounds(bounds()))),
        Box::new(channel()),
        Box::new(LayoutError::Bounds(bounds())),
        Box::new(CreateError::Name(name())),
        Box::new(CreateError::Exists(segment())),
        Box::new(CreateError::Directory(unopened())),
        Box::new(uncreated()),
        Box::new(AttachError::Name(name())),
        Box::new(AttachError::NotFound(segment())),
        Box::new(refused()),
        Box::new(unopened()),
        Box::new(ParticipantError::Full(4)),
        Box::new(PipeError::Create(uncreated())),
        Box::new(PipeError::Attach(unopened())),
        Box::new(PipeError::Layout(channel())),
        Box::new(PipeError::System(full())),
        Box::new(OpenError::Create(uncreated())),
        Box::new(OpenError::Attach(refused())),
        Box::new(OpenError::Attach(unopened())),
        Box::new(OpenError::NoName),
        Box::new(OpenError::Capacity { queue: segment(), found: Some(1), expected: None }),
        Box::new(OpenError::Join { queue: segment(), why: ParticipantError::Full(4) }),
        Box::new(OpenError::Layout(channel())),
        Box::new(RemoveError::NotFound(segment())),
        Box::new(RemoveError::Refused(unopened())),
    ];
    for make in laid_out {
        samples.extend([Box::new(make()) as Sample, Box::new(ChannelError::Layout(make()))]);
        samples.push(Box::new(OpenError::Layout(ChannelError::Layout(make()))));
    }
    samples
}

fn samples_of_queues() -> Vec<Sample> {
    let queue = || "jobs".to_owned();
    let decode = || pass::decode::<u64>(&[1], Vec::new()).unwrap_err();
    let why = || Box::new(OpenError::Create(CreateError::System { segment: queue(), what: "map it", source: full() }));
    let forked = || PutError::Forked { value: 1, queue: queue(), why: why() };
    vec![
        Box::new(PutError::Full(1)),
        Box::new(PutError::TooLong { value: 1, len: 2, max: 1 }),
        Box::new(PutError::Encode { value: 1, why: encode() }),
        Box::new(forked()),
        Box::new(PutManyError { put: 1, error: forked(), rest: 0..1 }),
        Box::new(GetError::Empty),
        Box::new(GetError::Decode(decode())),
        Box::new(GetError::Forked { queue: queue(), why: why() }),
        Box::new(GetManyError { values: vec![1], error: GetError::Decode(decode()) }),
        Box::new(QueueJoinError::Timeout { unfinished: 1 }),
        Box::new(QueueJoinError::Forked { queue: queue(), why: why() }),
        Box::new(JoinThreadError::NotClosed),
        Box::new(TaskDoneError::NothingInHand),
        Box::new(queue::SendError::Disconnected(1)),
        Box::new(queue::SendError::Other(forked())),
        Box::new(queue::RecvError::Disconnected),
        Box::new(queue::RecvError::Other(GetError::Decode(decode()))),
        Box::new(encode()),
        Box::new(decode()),
    ]
}

/// The reason why a value can't travel.
fn encode() -> EncodeError {
    pass::encode_plain(&Queue::<u8>::bounded(1).unwrap(), &mut Vec::new()).unwrap_err()
}

fn samples_of_pipes() -> Vec<Sample> {
    let unusable = || PipeError::System(full());
    vec![
        Box::new(pipe::SendError::Disconnected),
        Box::new(pipe::SendError::Encode(encode())),
        Box::new(pipe::SendError::Unusable(unusable())),
        Box::new(pipe::SendError::TooManyDescriptors { count: 2, max: 1 }),
        Box::new(pipe::SendError::Descriptors(full())),
        Box::new(pipe::RecvError::Empty),
        Box::new(pipe::RecvError::Unusable(unusable())),
        Box::new(pipe::RecvError::Descriptors(full())),
        Box::new(pipe::RecvError::Wait(full())),
        Box::new(RecvIntoError::TooShort { buffer: 1, message: vec![1, 2] }),
        Box::new(RecvIntoError::Recv(pipe::RecvError::Descriptors(full()))),
        Box::new(StandbyError::Taken),
        Box::new(StandbyError::Unusable(unusable())),
        Box::new(DescriptorError::Nothing),
        Box::new(DescriptorError::Encode(encode())),
        Box::new(DescriptorError::System(full())),
    ]
}

fn samples_of_processes() -> Vec<Sample> {
    fn nothing(_: Vec<u8>) {}
    let failed: SpawnError<Vec<u8>> =
        multiproc::Process::builder().name("n".repeat(1 << 20)).spawn(nothing, Vec::new()).unwrap_err();
    vec![
        Box::new(failed),
        Box::new(SpawnErrorKind::Encode(encode())),
        Box::new(SpawnErrorKind::EndedEarly { exit: Exit::Code(0) }),
        Box::new(SpawnErrorKind::NotReached { waited: Duration::from_secs(1) }),
        Box::new(SpawnErrorKind::System { what: "start it", source: full() }),
        Box::new(JoinError::NotOurs { name: "eve".into() }),
        Box::new(JoinError::System { name: "eve".into(), source: full() }),
    ]
}

fn samples_of_rings() -> Vec<Sample> {
    let kind = io::ErrorKind::StorageFull;
    vec![
        Box::new(mpmc::AllocError::NoMemory { kind }),
        Box::new(mpmc::PushError::NoMemory { kind }),
        Box::new(mpmc::PopError::Empty),
        Box::new(mpmc::GiveBackError::NotABlock),
        Box::new(mpmc::SweepError::NoReturns),
        Box::new(spsc::ReadError::Corrupt),
        Box::new(spsc::WriteError::TooLong { len: 2, max: 1 }),
        Box::new(ChannelPushError::Full),
        Box::new(ChannelPopError::ShutDown),
        Box::new(StreamSendError::Closed),
        Box::new(StreamRecvError::Timeout),
    ]
}

fn samples() -> Vec<Sample> {
    [samples_of_segments(), samples_of_queues(), samples_of_pipes(), samples_of_processes(), samples_of_rings()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn no_error_says_again_what_its_source_says() {
    for error in samples() {
        let chain: Vec<String> = std::iter::successors(Some(&*error), |&error| error.source()).map(ToString::to_string).collect();
        for (text, cause) in chain.iter().zip(&chain[1..]) {
            assert!(!text.contains(cause.as_str()), "{text:?} has its cause in it: {cause:?}");
        }
    }
}

#[test]
fn the_text_alone_names_the_systems_reason_and_the_chain_ends_with_its_own_words() {
    let mut refusals = 0;
    for error in samples() {
        let last = std::iter::successors(Some(&*error), |&error| error.source()).last().unwrap();
        if let Some(system) = last.downcast_ref::<io::Error>() {
            assert_eq!(system.raw_os_error(), Some(libc::ENOSPC));
            assert!(error.to_string().ends_with("no shared memory is left (/dev/shm, or the container's)"), "{error}");
            let words = system.to_string();
            assert!(format!("{error:#}").ends_with(&words) && format!("{error:?}").ends_with(&words), "{error:#} {error:?}");
            refusals += 1;
        }
    }
    assert!(refusals > 20, "{refusals} samples have an answer of the system");
}

#[test]
fn debug_of_an_error_is_its_name_its_text_and_its_causes() {
    for error in samples() {
        let (shown, text) = (format!("{error:?}"), error.to_string());
        let name: String = shown.chars().take_while(|c| c.is_alphanumeric() || *c == ':').collect();
        assert!(name.contains("Error") || name.starts_with("OutOfBounds"), "{shown} starts with no name");
        assert!(shown.contains(text.rsplit(": ").next().unwrap()), "{shown} does not say {text}");
    }
    let queue: Queue<u8> = Queue::bounded(1).unwrap();
    assert_eq!(format!("{:?}", queue.try_get().unwrap_err()), "GetError::Empty: the queue is empty");
}

/// Each error that a method of the facade returns, and each error in one, has a name there.
#[test]
fn every_error_that_the_facade_returns_has_a_name_in_it() {
    use multiproc::pipe::{Receiver, RecvError, SendError, Sender};
    use multiproc::{Connection, JoinableQueue, Process, Standby};
    fn is<A, B>(_: fn(A) -> B) {}
    is::<_, Result<Queue<u8>, OpenError>>(Queue::<u8>::bounded);
    is::<_, Result<(), RemoveError>>(|name: &str| multiproc::remove_queue(name));
    is::<_, Result<u8, GetError>>(|q: &Queue<u8>| q.get());
    is::<_, Result<(), PutError<u8>>>(|q: &Queue<u8>| q.put(1));
    is::<_, Result<Vec<u8>, GetManyError<u8>>>(|q: &Queue<u8>| q.get_many(1));
    is::<_, Result<usize, PutManyError<std::vec::IntoIter<u8>>>>(|q: &Queue<u8>| q.put_many(vec![1]));
    is::<_, Result<(), JoinThreadError>>(|q: &Queue<u8>| q.join_thread());
    is::<_, Result<(), TaskDoneError>>(|q: &JoinableQueue<u8>| q.task_done());
    is::<_, Result<(), QueueJoinError>>(|q: &JoinableQueue<u8>| q.join());
    is::<_, Result<(), queue::SendError<u8>>>(|sender: &queue::Sender<u8>| sender.send(1));
    is::<_, Result<u8, queue::RecvError>>(|receiver: &queue::Receiver<u8>| receiver.recv());
    is::<_, Result<(Connection<u8>, Connection<u8>), PipeError>>(|()| multiproc::pipe());
    is::<_, Result<(), SendError>>(|a: &Sender<u8>| a.send(&1));
    is::<_, Result<u8, RecvError>>(|a: &Receiver<u8>| a.recv());
    is::<_, Result<usize, RecvIntoError>>(|a: &Receiver<u8>| a.recv_bytes_into(&mut [0]));
    is::<_, Result<Standby<Receiver<u8>>, StandbyError>>(|a: &Receiver<u8>| a.standby());
    is::<_, Result<Receiver<u8>, DescriptorError>>(|a: std::os::fd::OwnedFd| Receiver::from_descriptor(a));
    is::<_, Result<Process, SpawnError<()>>>(|f: fn()| Process::spawn(f, ()));
    is::<_, Result<Exit, JoinError>>(|p: &Process| p.join());
    is::<_, Result<(), SignalError>>(|p: &Process| p.kill());
    // What those hold.
    fn held<E: Error>(of: fn(E)) {
        let _ = of;
    }
    held(|_: ParticipantError| ());
    held(|error: OpenError| {
        if let OpenError::Join { why, .. } = error {
            let _: ParticipantError = why;
        }
    });
    held(|error: ChannelError| match error {
        ChannelError::Layout(error) => drop::<LayoutError>(error),
        ChannelError::Spsc(error) => {
            let _: SpscError = error;
        }
        ChannelError::Bounds(OutOfBounds { .. }) => {}
        _ => {}
    });
    held(|error: CreateError| {
        if let CreateError::Name(error) = error {
            drop::<NameError>(error);
        }
    });
    held(|error: AttachError| {
        if let AttachError::Refused { flaw, .. } = error {
            drop::<Flaw>(flaw);
        }
    });
    held(|error: GetError| {
        if let GetError::Decode(error) = error {
            drop::<DecodeError>(error);
        }
    });
}
