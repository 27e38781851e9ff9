//! Named queues as the shell sees them: messages are bytes.

use crate::exit::say;
use crate::place;
use anyhow::{Error, anyhow, bail};
use multiproc::{
    AttachError, ChannelError, CreateError, Delivery, Flaw, GetError, JoinableQueue, OpenError, Overview, PutError, Queue, Room,
    Source,
};
use std::io::ErrorKind;
use std::time::Duration;

/// A queue that has a name, and whose messages are bytes or text.
#[derive(Debug)]
pub(crate) enum Named {
    Queue(Queue<Vec<u8>>),
    Joinable(JoinableQueue<Vec<u8>>),
}

impl Named {
    /// Opens a queue of either kind.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        let opened = match JoinableQueue::open(name) {
            Err(OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { .. }, .. })) => Queue::open(name).map(Self::Queue),
            other => other.map(Self::Joinable),
        };
        opened.map_err(|error| refused(name, error))
    }

    /// Opens a queue that knows what is done. `what` says what it is for.
    pub(crate) fn joinable(name: &str, what: &str) -> anyhow::Result<JoinableQueue<Vec<u8>>> {
        match Self::open(name)? {
            Self::Joinable(queue) => Ok(queue),
            Self::Queue(_) => bail!(
                "{name} is a queue that does not know what is done, so it can't {what}: \
                 remove it and make it anew with \"multiproc create {name} --joinable\""
            ),
        }
    }

    /// Ready while there is something to get, and at the end of the queue.
    pub(crate) fn source(&self) -> &dyn Source {
        match self {
            Self::Queue(queue) => queue,
            Self::Joinable(queue) => queue,
        }
    }

    /// Ready while there is room.
    pub(crate) fn room(&self) -> Room<'_, Vec<u8>> {
        match self {
            Self::Queue(queue) => queue.room(),
            Self::Joinable(queue) => queue.room(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Queue(queue) => queue.len(),
            Self::Joinable(queue) => queue.len(),
        }
    }

    pub(crate) fn try_put(&self, message: Vec<u8>) -> Result<(), PutError<Vec<u8>>> {
        match self {
            Self::Queue(queue) => queue.try_put(message),
            Self::Joinable(queue) => queue.try_put(message),
        }
    }

    pub(crate) fn put_timeout(&self, message: Vec<u8>, timeout: Duration) -> Result<(), PutError<Vec<u8>>> {
        match self {
            Self::Queue(queue) => queue.put_timeout(message, timeout),
            Self::Joinable(queue) => queue.put_timeout(message, timeout),
        }
    }

    pub(crate) fn try_get(&self) -> Result<Message<'_>, GetError> {
        Ok(match self {
            Self::Queue(queue) => Message::Value(Value { queue, bytes: Some(queue.try_get()?) }),
            Self::Joinable(queue) => Message::Delivery(queue.try_get_delivery()?),
        })
    }
}

/// A message in hand. It is given back when it is dropped, unless it is done.
#[derive(Debug)]
pub(crate) enum Message<'q> {
    Value(Value<'q>),
    Delivery(Delivery<Vec<u8>>),
}

impl Message<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.bytes.as_deref().unwrap_or_default(),
            Self::Delivery(delivery) => delivery,
        }
    }

    pub(crate) fn done(self) {
        match self {
            Self::Value(mut value) => value.bytes = None,
            Self::Delivery(delivery) => drop(delivery.done()),
        }
    }
}

/// A message that is out of a plain queue. Giving it back puts it behind the others.
#[derive(Debug)]
pub(crate) struct Value<'q> {
    queue: &'q Queue<Vec<u8>>,
    bytes: Option<Vec<u8>>,
}

/// How long a message that goes back waits for room in a queue that others have filled meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

impl Drop for Value<'_> {
    fn drop(&mut self) {
        let Some(bytes) = self.bytes.take() else { return };
        if let Err(error) = self.queue.put_timeout(bytes, PATIENCE) {
            say!("a message that was got could not be put back, and is lost: {error:#}");
        }
    }
}

/// Opens a queue of any kind and type, to look at it.
pub(crate) fn look(name: &str) -> anyhow::Result<Overview> {
    Overview::open(name).map_err(|error| refused(name, error))
}

/// What goes before the reason why messages of a queue can't be looked at.
pub(crate) fn unreadable(name: &str) -> String {
    format!("can't read all messages of queue {name}")
}

/// The sentence for a queue that can't be opened.
pub(crate) fn refused(name: &str, error: OpenError) -> Error {
    let is_of_the_place = match &error {
        OpenError::Attach(AttachError::Refused { segment, .. }) => segment != name,
        OpenError::Attach(AttachError::NotFound(_) | AttachError::System { .. }) => true,
        OpenError::Create(CreateError::Directory(_) | CreateError::System { .. }) => true,
        _ => false,
    };
    let makes = matches!(error, OpenError::Create(_));
    if let Some(flaw) = is_of_the_place.then(|| place::flaw(makes)).flatten() {
        return anyhow!("can't use queue {name}: {}", flaw.sentence());
    }
    match error {
        OpenError::Create(CreateError::Name(_)) | OpenError::Attach(AttachError::Name(_)) => wrong_name(name),
        OpenError::Attach(AttachError::NotFound(_)) => {
            anyhow!("there is no queue named {name}: make it with \"multiproc create {name} --joinable\"")
        }
        OpenError::Attach(AttachError::Refused { flaw: Flaw::MessageType { found, .. }, .. }) => not_readable(name, &found),
        OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { found, .. }, .. }) => {
            anyhow!("{name} is a {found}: the command uses a Queue or a JoinableQueue")
        }
        OpenError::Create(CreateError::Directory(AttachError::Refused { segment, flaw }))
        | OpenError::Attach(AttachError::Refused { segment, flaw }) => match segment == name {
            true if flaw == Flaw::NotAFile => anyhow!("{} is no queue: {flaw}; remove it", place::own().join(name).display()),
            true => anyhow!("queue {name} is refused: {flaw}; \"multiproc rm {name}\" removes it"),
            false => anyhow!("{segment} is refused: {flaw}"),
        },
        OpenError::Create(CreateError::System { source, .. } | CreateError::Directory(AttachError::System { source, .. }))
            if source.kind() == ErrorKind::StorageFull =>
        {
            anyhow!("can't make queue {name}: {}", place::room())
        }
        // What was asked for makes a queue: so this is of one that is there.
        OpenError::Layout(ChannelError::Layout(_) | ChannelError::Spsc(_) | ChannelError::Bounds(_)) => {
            anyhow!("queue {name} is damaged, or another version made it: \"multiproc rm {name}\" removes it")
        }
        other => Error::new(other).context(format!("can't {} queue {name}", if makes { "make" } else { "use" })),
    }
}

pub(crate) fn wrong_name(name: &str) -> Error {
    anyhow!("{name:?} can't name a queue: use 1 to 200 letters, digits, '.', '_' or '-', not starting with a dot")
}

/// Fails for a queue whose messages are of a type that makes no sense to a shell.
pub(crate) fn readable(name: &str, seen: &Overview) -> anyhow::Result<()> {
    match seen.holds::<Vec<u8>>() {
        true => Ok(()),
        false => Err(not_readable(name, &seen.message_type())),
    }
}

fn not_readable(name: &str, of: &str) -> Error {
    anyhow!(
        "queue {name} has messages of type {of}, which only the program that made it can read: \
         the command reads queues of bytes (Vec<u8>) and of text (String)"
    )
}
