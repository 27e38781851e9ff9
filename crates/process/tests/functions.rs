//! What a new process can run, what that may return, and what comes back when it can't: each promise once.

use multiproc_pipe::{Receiver, Sender, pipe_oneway};
use multiproc_process::{Ending, Exit, JoinError, Outcome, Process, SpawnError, SpawnErrorKind, Target};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

/// How a process with this function ends.
#[track_caller]
fn exit<T, A, S>(function: T, args: A) -> Option<Exit>
where
    T: Target<A, S, Returned: Ending>,
    A: Serialize + for<'de> Deserialize<'de> + 'static,
    S: 'static,
{
    Process::spawn(function, args).unwrap().join_timeout(WATCHDOG).unwrap()
}

fn nine() -> i32 {
    9
}

fn sum((a, b): (i32, i32)) -> i32 {
    a + b
}

fn size<T>(_: T) -> i32 {
    size_of::<T>() as i32
}

#[test]
fn functions_of_one_argument_or_none_run_as_items_pointers_and_closures() {
    assert_eq!(exit(nine, ()), Some(Exit::Code(9)));
    assert_eq!(exit(sum, (3, 4)), Some(Exit::Code(7)));
    assert_eq!(exit(size, 5u16), Some(Exit::Code(2)));
    assert_eq!(exit(nine as fn() -> i32, ()), Some(Exit::Code(9)));
    assert_eq!([sum as fn(_) -> _, |(a, b)| a * b].map(|f| exit(f, (3, 4))), [Some(Exit::Code(7)), Some(Exit::Code(12))]);
    assert_eq!(exit(|| 5, ()), Some(Exit::Code(5)));
    assert_eq!(exit(|n: i32| n + 1, 5), Some(Exit::Code(6)));
}

#[test]
fn a_closure_that_captures_something_is_refused_before_anything_starts() {
    // Leaked, so that it looks like a function pointer: copied, a word long and never null.
    let text: &'static String = Box::leak(Box::new("captured".to_owned()));
    let error = Process::spawn(move || assert_eq!(text, "captured"), ()).unwrap_err();
    assert_eq!(*error.kind(), SpawnErrorKind::NotInImage);
}

fn never() -> ! {
    std::process::exit(4)
}

fn infallible() -> Infallible {
    std::process::exit(5)
}

fn code(n: u8) -> ExitCode {
    ExitCode::from(n)
}

fn checked(fails: bool) -> Result<ExitCode, Box<dyn Error>> {
    if fails { Err("as asked".into()) } else { Ok(ExitCode::from(6)) }
}

fn below_zero() -> Result<i32, String> {
    Ok(-1)
}

struct Verdict;

impl Outcome for Verdict {
    fn report(self) -> i32 {
        8
    }
}

fn verdict() -> Verdict {
    Verdict
}

#[test]
fn what_a_function_returns_becomes_the_exit_code() {
    assert_eq!(exit(never, ()), Some(Exit::Code(4)));
    assert_eq!(exit(infallible, ()), Some(Exit::Code(5)));
    assert_eq!(exit(verdict, ()), Some(Exit::Code(8)), "a type of the caller's own");
    for n in [0, 1, 77, 255] {
        assert_eq!(exit(code, n), Some(Exit::Code(n.into())));
    }
    assert_eq!(exit(checked, false), Some(Exit::Code(6)));
    assert_eq!(exit(checked, true), Some(Exit::Code(1)));
    assert_eq!(exit(below_zero, ()), Some(Exit::Code(255)), "the system keeps 8 bits");
}

#[test]
fn an_exit_says_its_code_or_its_signal() {
    let all = [Exit::Code(0), Exit::Code(3), Exit::Signal(9), Exit::Unknown];
    assert_eq!(all.map(Exit::code), [Some(0), Some(3), None, None]);
    assert_eq!(all.map(Exit::signal), [None, None, Some(9), None]);
    assert_eq!(all.map(Exit::success), [true, false, false, false]);
}

/// Refuses to be encoded while it is closed, and to be decoded in any other process while it is not.
#[derive(Debug, PartialEq)]
struct Bound {
    closed: bool,
}

impl Serialize for Bound {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.closed { Err(serde::ser::Error::custom("it is closed")) } else { serializer.serialize_u32(std::process::id()) }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let here = u32::deserialize(deserializer)? == std::process::id();
        if here { Ok(Self { closed: false }) } else { Err(serde::de::Error::custom("it is elsewhere")) }
    }
}

fn take(_: (Sender<u64>, Bound)) {}

#[test]
fn a_start_that_fails_gives_the_arguments_back_and_their_handles_work() {
    let (receiver, sender): (Receiver<u64>, _) = pipe_oneway().unwrap();
    let error = Process::spawn(take, (sender, Bound { closed: true })).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::Encode(_)), "{error}");
    let (sender, bound) = error.into_args();
    assert!(bound.closed);
    let error = Process::spawn(take, (sender, Bound { closed: false })).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::Decode { why } if why.contains("it is elsewhere")), "{error}");
    let (sender, _) = error.into_args();
    sender.send(&7).unwrap();
    assert_eq!(receiver.recv_timeout(WATCHDOG).unwrap(), 7);
}

#[test]
fn a_failed_start_is_an_error_like_any_other() {
    fn start() -> Result<(), Box<dyn Error + Send + Sync>> {
        // An end of a pipe is not Sync. The error is.
        let (_receiver, sender) = pipe_oneway()?;
        Process::builder().name("eve").spawn(take, (sender, Bound { closed: true }))?;
        Ok(())
    }
    let error = start().unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("can't start \"eve\": ") && said.ends_with("it is closed"), "{said}");
    let printed = format!("{error:?}");
    assert!(printed.contains("SpawnErrorKind::Encode: ") && printed.ends_with("it is closed"), "{printed}");
    assert!(error.source().is_none(), "its text has the cause");
    let error = error.downcast::<SpawnError<(Sender<u64>, Bound)>>().unwrap();
    assert_eq!(error.name(), "eve");
}

#[test]
fn errors_that_say_the_same_are_equal_and_print_what_they_say() {
    let not_ours = |name: &str| JoinError::NotOurs { name: name.into() };
    assert_eq!(not_ours("a"), not_ours("a"));
    assert_ne!(not_ours("a"), not_ours("b"));
    assert!(format!("{:?}", not_ours("a")).starts_with("JoinError::NotOurs: \"a\" is not a child"));
    assert_ne!(SpawnErrorKind::HungUp, SpawnErrorKind::InDaemon);
}
