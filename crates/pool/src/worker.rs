//! A worker's side: it takes orders, runs them, and reports.
//!
//! What it does is ordered so that a death between any two steps loses nothing and blames nobody falsely:
//!
//! | step | if the worker dies after it |
//! |---|---|
//! | get the order | another worker gets it and sends it back; the board names no holder, so it runs elsewhere |
//! | write it on the board, [`At::Reading`] | it runs elsewhere |
//! | begin it in its slot | the same; it can't be cancelled from here on |
//! | write an element on the board | that element is to blame |
//! | put results | these elements have their results, and never run again |
//! | clear the board, say done | nothing is in hand |

use crate::board::{At, Board, Hand, Stage};
use crate::function::{Enter, Function, Key, Name, call};
use crate::message::{Fault, MAX_MESSAGE, Order, Report, What};
use multiproc_prim::monotonic_millis;
use multiproc_queue::{Delivery, GetError, JoinableQueue, PutError, Queue};
use multiproc_travel::pass::{self, Descriptor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Results that are older than this are sent before the next element begins, in milliseconds. A death takes younger ones with it.
const KEEP_RESULTS: u64 = 8;

/// Bytes of results that one report should have: they stay in the cache, and the parent decodes while the worker works.
const REPORT: usize = 60 << 10;
/// Results in the first report of an order, whose length is unknown yet.
const FIRST_REPORT: usize = 64;

/// What a worker is told, but for the arguments of its initializer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) orders: JoinableQueue<Vec<u8>>,
    pub(crate) reports: Queue<Vec<u8>>,
    pub(crate) board: Descriptor,
    pub(crate) worker: usize,
    pub(crate) key: Key,
    /// Whether tasks have a time limit.
    pub(crate) timed: bool,
    /// Tasks after which the worker ends; 0: none.
    pub(crate) most_tasks: u64,
}

/// Why a worker ends before it is told to.
pub(crate) struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a worker process runs: `F` is the initializer.
pub(crate) fn work<F, A, S>((instructions, arguments): (Instructions, A)) -> Result<(), Unfit>
where
    F: Function<A, S, Returned: Initialized>,
{
    let reports = instructions.reports.clone();
    let serve = || {
        let worker = Worker::new(instructions)?;
        let started = catch_unwind(AssertUnwindSafe(|| call::<F, A, S>(arguments).said()));
        started.unwrap_or_else(|payload| Err(text_of(payload))).map_err(|why| format!("its initializer failed: {why}"))?;
        worker.serve()
    };
    serve().map_err(|why: String| {
        // The parent may have ended.
        let _ = reports.put(Report::of(What::Failed, 0).with(why.as_bytes()));
        Unfit(why)
    })
}

/// What an initializer may return: nothing, or a `Result`.
pub trait Initialized {
    #[doc(hidden)]
    fn said(self) -> Result<(), String>;
}

impl Initialized for () {
    fn said(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Initialized for Result<(), E> {
    fn said(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

struct Worker {
    orders: JoinableQueue<Vec<u8>>,
    reports: Queue<Vec<u8>>,
    board: Board,
    number: usize,
    key: Key,
    timed: bool,
    most_tasks: u64,
}

impl Worker {
    fn new(told: Instructions) -> Result<Self, String> {
        let Instructions { orders, reports, board, worker: number, key, timed, most_tasks } = told;
        let board = Board::attach(board.into()).map_err(|error| error.to_string())?;
        Ok(Self { orders, reports, board, number, key, timed, most_tasks })
    }

    /// Carries out orders until there are no more.
    fn serve(&self) -> Result<(), String> {
        let mut tasks = 0;
        let mut last: Option<(Name, Enter)> = None;
        self.board.set_stage(self.number, Stage::Ready);
        loop {
            let delivery = match self.orders.get_delivery() {
                Ok(delivery) => delivery,
                Err(GetError::ShutDown) => return Ok(()),
                Err(error) => return Err(format!("it can't get tasks: {error:#}")),
            };
            tasks += self.carry_out(delivery, &mut last)?;
            if self.most_tasks > 0 && tasks >= self.most_tasks {
                self.board.set_stage(self.number, Stage::Spent);
                return Ok(());
            }
        }
    }

    /// Returns how many tasks it ran.
    fn carry_out(&self, delivery: Delivery<Vec<u8>>, last: &mut Option<(Name, Enter)>) -> Result<u64, String> {
        // Each element takes a byte at least. A hostile peer may say that there are more.
        let is_possible = |(order, arguments): &(Order, &[u8])| order.to as usize <= arguments.len().max(1);
        let Some((order, arguments)) = Order::read(&delivery).filter(is_possible) else {
            delivery.done();
            return Ok(0);
        };
        if delivery.count() > 1 {
            // The parent knows which element was in whose hand.
            self.report(Report::of(What::Returned, order.number).with(&delivery))?;
            delivery.done();
            return Ok(0);
        }
        let enter = match *last {
            Some((name, enter)) if name == order.function => enter,
            _ => {
                let Some(enter) = self.key.find(order.function) else {
                    delivery.done();
                    return Ok(0);
                };
                *last = Some((order.function, enter));
                enter
            }
        };
        let mut run = Run { worker: self, order, failed: None, sent: 0 };
        run.at(At::Reading);
        if self.board.begin(order.slot, order.number) {
            enter(&mut run, arguments);
        } else {
            self.report(Report::of(What::Skipped, order.number).with(&[]))?;
        }
        if let Some(why) = run.failed.take() {
            // The order goes back, and the row says what was in hand.
            return Err(why);
        }
        self.board.put_down(self.number);
        delivery.done();
        Ok(u64::from(order.to - order.from))
    }

    fn report(&self, bytes: Vec<u8>) -> Result<(), String> {
        self.reports.put(bytes).map_err(|error| format!("it can't send results: {error:#}"))
    }
}

/// One order under way.
pub(crate) struct Run<'w> {
    worker: &'w Worker,
    order: Order,
    /// Why this worker can't go on.
    failed: Option<String>,
    /// Bytes of the last report.
    sent: usize,
}

impl Run<'_> {
    #[inline]
    fn at(&self, at: At) {
        let worker = self.worker;
        worker.board.take(worker.number, Hand::new(self.order.number, at), worker.timed);
    }

    /// Says that all elements from `first` on have a fault.
    fn fault_all(&mut self, fault: &Fault) {
        let faults = (0..self.order.to - self.order.from).map(|element| (element, fault.clone())).collect();
        self.send::<()>(self.order.from, Vec::new(), faults, &|_, _| Ok(()));
    }

    /// Sends results of elements from `first` on. `encode` writes the values.
    fn send<R>(&mut self, first: u32, values: Vec<R>, faults: Vec<(u32, Fault)>, encode: Encode<'_, R>) {
        let count = (values.len() + faults.len()) as u32;
        let mut bytes = Vec::with_capacity(Report::LEN + 24);
        bytes.resize(Report::LEN, 0);
        if !faults.is_empty() && pass::encode_plain(&faults, &mut bytes).is_err() {
            // Texts always have an encoding.
            self.failed = Some("it can't encode an error".into());
            return;
        }
        let faults_len = bytes.len() - Report::LEN;
        let encoded = catch_unwind(AssertUnwindSafe(|| encode(&values, &mut bytes)));
        match encoded {
            Ok(Ok(())) if bytes.len() <= MAX_MESSAGE && u32::try_from(faults_len).is_ok() => {}
            Ok(Ok(())) if count > 1 => return self.send_in_halves(first, values, faults, encode),
            Ok(Ok(())) => {
                let why = format!("it takes {} bytes of at most {MAX_MESSAGE}", bytes.len() - Report::LEN);
                return self.send::<R>(first, Vec::new(), vec![(0, Fault::Result(why))], encode);
            }
            _ => return self.send_what_can_be(first, values, faults, encode),
        }
        let report = Report { first, count, faults: faults_len as u32, ..Report::of(What::Results, self.order.number) };
        report.write(&mut bytes);
        self.sent = bytes.len();
        match self.worker.reports.put(bytes) {
            Ok(()) => {}
            Err(PutError::TooLong { .. } | PutError::NoMemory(_)) if count > 1 => {
                self.send_in_halves(first, values, faults, encode);
            }
            Err(error @ (PutError::TooLong { .. } | PutError::NoMemory(_))) if !values.is_empty() => {
                let why = error.to_string();
                self.send::<R>(first, Vec::new(), vec![(0, Fault::Result(why))], encode);
            }
            Err(error) => self.failed = Some(format!("it can't send results: {error:#}")),
        }
    }

    /// Sends results that are too long for one message.
    fn send_in_halves<R>(&mut self, first: u32, mut values: Vec<R>, mut faults: Vec<(u32, Fault)>, encode: Encode<'_, R>) {
        let count = (values.len() + faults.len()) as u32;
        let half = count / 2;
        let faults_before = faults.partition_point(|&(element, _)| element < half);
        let mut later_faults = faults.split_off(faults_before);
        later_faults.iter_mut().for_each(|(element, _)| *element -= half);
        let later = values.split_off(half as usize - faults_before);
        self.send(first, values, faults, encode);
        self.send(first + half, later, later_faults, encode);
    }

    /// Sends results of which some can't be encoded: these are faults.
    fn send_what_can_be<R>(&mut self, first: u32, values: Vec<R>, faults: Vec<(u32, Fault)>, encode: Encode<'_, R>) {
        let mut given = faults.into_iter().peekable();
        let (mut kept, mut faults) = (Vec::new(), Vec::new());
        let mut element = 0;
        for value in values {
            while let Some(fault) = given.next_if(|&(at, _)| at == element) {
                faults.push(fault);
                element += 1;
            }
            let mut one = vec![value];
            let mut scratch = Vec::new();
            match catch_unwind(AssertUnwindSafe(|| encode(&one, &mut scratch))) {
                Ok(Ok(())) => kept.append(&mut one),
                Ok(Err(why)) => faults.push((element, Fault::Result(why))),
                Err(payload) => faults.push((element, Fault::Result(format!("its encoding panicked: {}", text_of(payload))))),
            }
            element += 1;
        }
        faults.extend(given);
        if kept.is_empty() {
            return self.send::<R>(first, kept, faults, &|_, _| Ok(()));
        }
        self.send(first, kept, faults, encode);
    }
}

/// Appends encoded values.
type Encode<'a, R> = &'a dyn Fn(&Vec<R>, &mut Vec<u8>) -> Result<(), String>;

/// Calls the function with the arguments of one element.
fn attempt<F: Function<A, S>, A, S>(arguments: A) -> Result<F::Returned, Fault> {
    catch_unwind(AssertUnwindSafe(|| call::<F, A, S>(arguments))).map_err(|payload| Fault::Panicked(text_of(payload)))
}

fn decode<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, Fault> {
    match catch_unwind(AssertUnwindSafe(|| pass::decode_plain::<A>(bytes))) {
        Ok(Ok(arguments)) => Ok(arguments),
        Ok(Err(error)) => Err(Fault::Arguments(error.to_string())),
        Err(payload) => Err(Fault::Arguments(format!("their decoding panicked: {}", text_of(payload)))),
    }
}

/// The [`Enter`] of a single task.
pub(crate) fn enter_one<F, A, S>(run: &mut Run<'_>, bytes: &[u8])
where
    F: Function<A, S, Returned: Serialize + DeserializeOwned>,
    A: DeserializeOwned,
{
    let arguments = match decode::<A>(bytes) {
        Ok(arguments) => arguments,
        Err(fault) => return run.fault_all(&fault),
    };
    run.at(At::Element(0));
    let (values, faults) = match attempt::<F, A, S>(arguments) {
        Ok(value) => (vec![value], Vec::new()),
        Err(fault) => (Vec::new(), vec![(0, fault)]),
    };
    run.at(At::Writing(0));
    run.send(0, values, faults, &|values, bytes| match values.first() {
        Some(value) => pass::encode_plain(value, bytes).map_err(|error| error.to_string()),
        None => Ok(()),
    });
}

/// The [`Enter`] of a chunk of tasks.
pub(crate) fn enter_many<F, A, S>(run: &mut Run<'_>, bytes: &[u8])
where
    F: Function<A, S, Returned: Serialize + DeserializeOwned>,
    A: DeserializeOwned,
{
    let arguments = match decode::<Vec<A>>(bytes) {
        Ok(arguments) => arguments,
        Err(fault) => return run.fault_all(&fault),
    };
    let encode = |values: &Vec<F::Returned>, bytes: &mut Vec<u8>| {
        if values.is_empty() { Ok(()) } else { pass::encode_plain(values, bytes).map_err(|error| error.to_string()) }
    };
    let (from, to) = (run.order.from, run.order.to);
    let (mut first, mut values, mut faults) = (from, Vec::new(), Vec::new());
    let (mut last, mut most) = (monotonic_millis(), FIRST_REPORT);
    for (element, arguments) in (0..to).zip(arguments).skip(from as usize) {
        run.at(At::Element(element));
        match attempt::<F, A, S>(arguments) {
            Ok(value) => values.push(value),
            Err(fault) => faults.push((element - first, fault)),
        }
        let count = (element + 1 - first) as usize;
        if (count >= most || monotonic_millis().wrapping_sub(last) >= KEEP_RESULTS) && element + 1 < to {
            run.at(At::Writing(first));
            run.send(first, std::mem::take(&mut values), std::mem::take(&mut faults), &encode);
            if run.failed.is_some() {
                return;
            }
            most = (count * REPORT / run.sent.max(1)).clamp(1, most * 8);
            (first, last) = (element + 1, monotonic_millis());
        }
    }
    run.at(At::Writing(first));
    run.send(first, values, faults, &encode);
}

/// The text of a panic.
fn text_of(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    // Its destructor could panic again.
    std::mem::forget(payload);
    text.unwrap_or_else(|| "it did not say why".into())
}
