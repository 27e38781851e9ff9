//! The place where a handle keeps its end. The end leaves when it is sent, and comes back if the send fails.

use multiproc_travel::pass::{self, Mover};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// What moves to another process when it is sent.
pub(crate) trait Travels: Debug + Send + 'static {
    /// Gives up everything that only one process can have.
    fn depart(&mut self) -> Result<(), String>;
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// Whether it sends, and whether it receives.
    fn ways(&self) -> (bool, bool);
}

/// The place that an end goes back to.
type Home<T> = Arc<Mutex<Option<T>>>;

/// One owner's place for an end. It is not `Sync`, so it needs no lock while the end is here.
#[derive(Debug)]
pub(crate) struct Holder<T: Travels>(RefCell<State<T>>);

#[derive(Debug)]
enum State<T> {
    Here(T),
    /// In a parcel, which another thread may be sending. If that fails, the end is here again.
    Away(Home<T>),
}

/// The end is not here: it was sent to another process.
#[derive(Debug)]
pub(crate) struct Gone;

impl<T: Travels> Holder<T> {
    pub(crate) fn new(content: T) -> Self {
        Self(RefCell::new(State::Here(content)))
    }

    /// A holder whose end is gone.
    pub(crate) fn gone() -> Self {
        Self(RefCell::new(State::Away(Arc::new(Mutex::new(None)))))
    }

    /// The holder of what travelled, if it goes these ways. In a trial the holder is empty: the end stays with its owner.
    pub(crate) fn arrived<'de, D: Deserializer<'de>>(ways: (bool, bool), otherwise: &str, from: D) -> Result<Self, D::Error>
    where
        T: Deserialize<'de>,
    {
        if pass::arrives_in_trial() {
            let right = |(found, _): &((bool, bool), PhantomData<T>)| *found == ways;
            return pass::deserialize_stand_in(right, true, from).map(|_| Self::gone());
        }
        let content = T::deserialize(from)?;
        if content.ways() == ways { Ok(Self::new(content)) } else { Err(pass::refuse(otherwise)) }
    }

    /// Works with what is here. `work` calls no code of the user's, since that could use this holder again.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Gone> {
        let mut state = self.0.try_borrow_mut().map_err(|_| Gone)?;
        match &mut *state {
            State::Here(content) => Ok(work(content)),
            State::Away(_) => work_on_returned(&mut state, work),
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.with(|_| ()).is_ok()
    }

    /// Takes out what is here. From then on it is gone.
    pub(crate) fn take(&self) -> Result<T, Gone> {
        self.lend().map(|(content, _)| content)
    }

    fn lend(&self) -> Result<(T, Home<T>), Gone> {
        self.with(|_| ())?;
        let home = Arc::new(Mutex::new(None));
        match self.0.replace(State::Away(home.clone())) {
            State::Here(content) => Ok((content, home)),
            State::Away(_) => Err(Gone),
        }
    }
}

#[cold]
fn work_on_returned<T, R>(state: &mut State<T>, work: impl FnOnce(&mut T) -> R) -> Result<R, Gone> {
    let State::Away(home) = &*state else { return Err(Gone) };
    let returned = home.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut content = returned.ok_or(Gone)?;
    let result = work(&mut content);
    *state = State::Here(content);
    Ok(result)
}

/// What left a holder, as a part of a parcel. Dropped, it goes back.
#[derive(Debug)]
struct Luggage<T: Travels> {
    content: Option<T>,
    home: Home<T>,
}

impl<T: Travels> Mover for Luggage<T> {
    fn left(mut self: Box<Self>) {
        self.content = None;
    }
}

impl<T: Travels> Drop for Luggage<T> {
    fn drop(&mut self) {
        if let Some(content) = self.content.take() {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
        }
    }
}

impl<T: Travels> Serialize for Holder<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass::check_leaving()?;
        let gone =
            |Gone| pass::refuse_to_leave("this end of a pipe was sent already, or is twice in this value: an end is one owner's");
        if pass::leaves_in_trial() {
            let keep = || self.with(|content| (content.ways(), PhantomData::<T>)).map_err(gone);
            return pass::serialize_stand_in(keep, serializer);
        }
        let (content, home) = self.lend().map_err(gone)?;
        let mut luggage = Luggage { content: Some(content), home };
        let Some(content) = &mut luggage.content else { return Err(pass::refuse_to_leave("nothing is here")) };
        content.depart().map_err(pass::refuse_to_leave)?;
        let done = content.write(serializer)?;
        pass::move_along(Box::new(luggage));
        Ok(done)
    }
}
