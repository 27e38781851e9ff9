//! The small programs that run in every world. Each is what a user would write, and says in words what went wrong.

use crate::make::{NOBODY, become_user, make_all, report};
use crate::table::worlds;
use crate::{Failure, pools, views};
use multiproc::pipe::RecvError;
use multiproc::{Connection, Exit, JoinableQueue, Process, Queue, active_children, pipe};
use std::io::Write;
use std::time::{Duration, Instant};

pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Returns a note, which may be empty, or an error.
    pub(crate) run: fn() -> Result<String, String>,
}

/// The programs for every world.
pub(crate) const EVERYWHERE: [&Program; 11] = [
    &Program { name: "sizes", run: sizes },
    &Program { name: "redelivery", run: redelivery },
    &Program { name: "living", run: living },
    &Program { name: "pipe", run: pipes },
    &Program { name: "named", run: named },
    &Program { name: "burst", run: burst },
    &Program { name: "bounded", run: bounded },
    &Program { name: "terminate", run: terminate },
    &Program { name: "panic", run: panic },
    &Program { name: "daemon", run: || views::daemon(0) },
    &Program { name: "pool", run: pools::pool },
];

/// Longer than anything takes that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} and not {expected:?}")) }
}

/// Runs a program in the world that the maker made, and reports what came of it.
pub(crate) fn inside(world: &str, program: &str) -> Result<(), Failure> {
    report("main");
    // A child of this process runs its function in `init` and must never come here.
    if std::env::var_os("WORLDS_MAIN").is_some() {
        return Err("main ran a second time".into());
    }
    // SAFETY: no other thread reads the environment.
    unsafe { std::env::set_var("WORLDS_MAIN", "1") };
    let world = worlds().into_iter().find(|known| known.name == world).ok_or("there is no such world")?;
    let program = world.programs.iter().find(|known| known.name == program).ok_or("there is no such program")?;
    if make_all(&world.inside).is_err() {
        return Ok(());
    }
    let mut done = (program.run)();
    for child in active_children() {
        // After an error the children wait for what never comes.
        // SAFETY: a child of ours, not waited for.
        unsafe { libc::kill(child.pid() as i32, libc::SIGKILL) };
        let _ = child.join_timeout(PATIENCE);
        done = done.and_then(|_| Err(format!("{} was left running", child.name())));
    }
    report(&done.map_or_else(|error| format!("error: {error}"), |note| format!("works {note}")));
    Ok(())
}

/// How long to look for a wrong conclusion.
pub(crate) fn a_while() -> Duration {
    let short = std::env::args().nth(4).is_some_and(|form| form == "short");
    Duration::from_millis(if short { 200 } else { 1200 })
}

/// Waits for a process that ends by itself.
pub(crate) fn ended(process: &Process) -> Result<Exit, String> {
    let exit = process.join_timeout(PATIENCE).map_err(text)?;
    exit.ok_or_else(|| format!("{} did not end", process.name()))
}

fn ended_well(process: &Process) -> Result<(), String> {
    // Where the system does not say how a child ended, it is enough that it did.
    match ended(process)? {
        exit if exit.success() => Ok(()),
        Exit::Unknown => Ok(()),
        exit => Err(format!("{} ended with {exit}", process.name())),
    }
}

/// None of the library's descriptors may be where programs print.
fn standard_descriptors(ours: &[&str]) -> Result<(), String> {
    for number in 0..3 {
        let file = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        let file = file.to_string_lossy();
        if ours.iter().any(|ours| file.contains(ours)) {
            return Err(format!("descriptor {number} is {file}"));
        }
    }
    Ok(())
}

/// Prints to both outputs a text that would be rubbish in a queue. There may be no reader.
fn print_much() {
    let line = "printed on purpose ".repeat(20);
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = writeln!(std::io::stderr(), "{line}");
}

const SIZES: [usize; 6] = [0, 8, 100, 5_000, 300_000, 5 << 20];

fn sizes() -> Result<String, String> {
    let there: Queue<Vec<u8>> = Queue::unbounded().map_err(text)?;
    let back: Queue<Vec<u8>> = Queue::bounded(4).map_err(text)?;
    let mut children = Vec::new();
    for _ in 0..2 {
        print_much();
        standard_descriptors(&["memfd:", "anon_inode:", "multiproc"])?;
        children.push(Process::spawn(echo, (there.clone(), back.clone())).map_err(text)?);
        // The greeting comes when the child has printed.
        expect("greeting", back.get_timeout(PATIENCE).map_err(text)?, b"hello".to_vec())?;
    }
    for (number, len) in SIZES.into_iter().enumerate() {
        there.put(vec![number as u8; len]).map_err(text)?;
    }
    let mut found = Vec::new();
    for _ in SIZES {
        let value = back.get_timeout(PATIENCE).map_err(text)?;
        let whole = value.iter().all(|byte| Some(byte) == value.first());
        found.push((value.len(), whole.then(|| value.first().copied().unwrap_or(0))));
    }
    found.sort_unstable();
    let put = SIZES.iter().enumerate().map(|(number, &len)| (len, Some(number as u8))).collect();
    expect("lengths and bytes", found, put)?;
    there.shutdown();
    children.iter().try_for_each(ended_well)?;
    Ok(String::new())
}

fn echo((there, back): (Queue<Vec<u8>>, Queue<Vec<u8>>)) -> Result<(), String> {
    print_much();
    standard_descriptors(&["memfd:", "anon_inode:", "multiproc", "socket:"])?;
    back.put(b"hello".to_vec()).map_err(text)?;
    loop {
        match there.get() {
            Ok(value) => back.put(value).map_err(text)?,
            Err(error) if error.to_string().contains("shut down") => return Ok(()),
            Err(error) => return Err(text(error)),
        }
    }
}

/// A value, and how often it was delivered. Zeros mean that there was none.
pub(crate) type Told = Queue<(u64, u16)>;

fn redelivery() -> Result<String, String> {
    let jobs = JoinableQueue::unbounded().map_err(text)?;
    let told = Told::unbounded().map_err(text)?;
    jobs.put(7).map_err(text)?;
    let holder = Process::spawn(hold, (jobs.clone(), told.clone())).map_err(text)?;
    expect("first delivery", told.get_timeout(PATIENCE).map_err(text)?, (7, 1))?;
    let other = Process::spawn(take, (jobs.clone(), told.clone())).map_err(text)?;
    expect("word of the other one", told.get_timeout(PATIENCE).map_err(text)?, (0, 0))?;
    let begin = Instant::now();
    holder.kill().map_err(text)?;
    expect("second delivery", told.get_timeout(PATIENCE).map_err(text)?, (7, 2))?;
    let took = begin.elapsed();
    jobs.join_timeout(PATIENCE).map_err(text)?;
    ended(&holder)?;
    ended_well(&other)?;
    // The promise is 100 ms. A busy machine may add to that.
    if took > Duration::from_secs(1) {
        Err(format!("redelivered after {took:?}"))
    } else {
        Ok(format!("{} ms", took.as_millis()))
    }
}

pub(crate) fn hold((jobs, told): (JoinableQueue<u64>, Told)) -> Result<(), String> {
    let job = jobs.get_delivery().map_err(text)?;
    told.put((*job, job.count())).map_err(text)?;
    loop {
        std::thread::park();
    }
}

fn take((jobs, told): (JoinableQueue<u64>, Told)) -> Result<(), String> {
    told.put((0, 0)).map_err(text)?;
    let job = jobs.get_delivery_timeout(PATIENCE).map_err(text)?;
    told.put((*job, job.count())).map_err(text)?;
    job.done();
    Ok(())
}

/// A process that is stopped with a value in hand keeps it, although other processes look for the dead.
fn living() -> Result<String, String> {
    let jobs = JoinableQueue::unbounded().map_err(text)?;
    let (told, go) = (Told::unbounded().map_err(text)?, Queue::unbounded().map_err(text)?);
    jobs.put(7).map_err(text)?;
    let holder = Process::spawn(finish_when_told, (jobs.clone(), told.clone(), go.clone())).map_err(text)?;
    expect("first delivery", told.get_timeout(PATIENCE).map_err(text)?, (7, 1))?;
    // SAFETY: signals to our own child, which was not waited for; so below.
    unsafe { libc::kill(holder.pid() as i32, libc::SIGSTOP) };
    // One process looks, as another user. Of several, only one might act on what it sees.
    let looker = Process::spawn(look, (jobs.clone(), told.clone(), true, a_while())).map_err(text)?;
    let found = told.get_timeout(PATIENCE).map_err(text)?;
    // SAFETY: as above.
    unsafe { libc::kill(holder.pid() as i32, libc::SIGCONT) };
    expect("what another one got of a living process", found, (0, 0))?;
    go.put(1).map_err(text)?;
    jobs.join_timeout(PATIENCE).map_err(text)?;
    ended_well(&holder)?;
    ended_well(&looker)?;
    Ok(String::new())
}

fn finish_when_told((jobs, told, go): (JoinableQueue<u64>, Told, Queue<u8>)) -> Result<(), String> {
    let job = jobs.get_delivery().map_err(text)?;
    told.put((*job, job.count())).map_err(text)?;
    go.get().map_err(text)?;
    job.done();
    Ok(())
}

/// Tries to get a value that it must not get; as another user if asked to.
pub(crate) fn look((jobs, told, other, time): (JoinableQueue<u64>, Told, bool, Duration)) -> Result<(), String> {
    if other {
        // Where that is not allowed, it looks as the same user.
        let _ = become_user(NOBODY);
    }
    let found = match jobs.get_delivery_timeout(time) {
        Ok(job) => (*job, job.count()),
        Err(multiproc::GetError::Timeout) => (0, 0),
        Err(error) => return Err(text(error)),
    };
    told.put(found).map_err(text)
}

fn pipes() -> Result<String, String> {
    let (ours, theirs) = pipe::<Vec<u8>>().map_err(text)?;
    let child = Process::spawn(send_back, theirs).map_err(text)?;
    for len in [0, 100, 200_000] {
        ours.send(&vec![7; len]).map_err(text)?;
        expect("length of a message", ours.recv_timeout(PATIENCE).map_err(text)?.len(), len)?;
    }
    drop(ours);
    ended_well(&child)?;
    let (ours, theirs) = pipe::<Vec<u8>>().map_err(text)?;
    let child = Process::spawn(send_back, theirs).map_err(text)?;
    child.kill().map_err(text)?;
    let end = ours.recv_timeout(PATIENCE).map(|message| message.len());
    ended(&child)?;
    if matches!(end, Err(RecvError::Disconnected)) { Ok(String::new()) } else { Err(format!("of a killed process: {end:?}")) }
}

fn send_back(theirs: Connection<Vec<u8>>) -> Result<(), String> {
    loop {
        match theirs.recv() {
            Ok(message) => theirs.send(&message).map_err(text)?,
            Err(RecvError::Disconnected) => return Ok(()),
            Err(error) => return Err(text(error)),
        }
    }
}

fn named() -> Result<String, String> {
    let name = format!("world-{}", std::process::id());
    let q: Queue<u64> = Queue::builder().bounded(4).named(&name).build().map_err(text)?;
    let done = (|| {
        q.put(1).map_err(text)?;
        let child = Process::spawn(open_and_answer, name.clone()).map_err(text)?;
        ended_well(&child)?;
        expect("answer", q.get_timeout(PATIENCE).map_err(text)?, 2)
    })();
    multiproc::remove_queue(&name).map_err(text)?;
    done?;
    if Queue::<u64>::open(&name).is_ok() { Err("opened a name that was removed".into()) } else { Ok(String::new()) }
}

fn open_and_answer(name: String) -> Result<(), String> {
    let q = Queue::<u64>::open(&name).map_err(text)?;
    expect("value", q.get_timeout(PATIENCE).map_err(text)?, 1)?;
    q.put(2).map_err(text)
}

fn burst() -> Result<String, String> {
    let q = Queue::unbounded().map_err(text)?;
    for value in 0..50_000_u64 {
        q.put(value).map_err(text)?;
    }
    expect("length", q.len(), 50_000)?;
    for value in 0..50_000 {
        expect("value", q.get_timeout(PATIENCE).map_err(text)?, value)?;
    }
    if q.is_empty() { Ok(String::new()) } else { Err("drained, and not empty".into()) }
}

fn bounded() -> Result<String, String> {
    let (q, sum) = (Queue::bounded(1).map_err(text)?, Queue::bounded(1).map_err(text)?);
    let child = Process::spawn(add_up, (q.clone(), sum.clone())).map_err(text)?;
    for value in 1..=1000 {
        q.put(value).map_err(text)?;
    }
    expect("sum", sum.get_timeout(PATIENCE).map_err(text)?, 500_500)?;
    ended_well(&child)?;
    q.put(1).map_err(text)?;
    let refused = q.put_timeout(2, Duration::from_millis(20));
    if matches!(refused, Err(multiproc::PutError::Timeout(2))) { Ok(String::new()) } else { Err(format!("full: {refused:?}")) }
}

fn add_up((q, sum): (Queue<u64>, Queue<u64>)) -> Result<(), String> {
    let mut total = 0;
    for _ in 0..1000 {
        total += q.get().map_err(text)?;
    }
    sum.put(total).map_err(text)
}

fn terminate() -> Result<String, String> {
    let child = Process::spawn(wait_for_ever, ()).map_err(text)?;
    child.terminate().map_err(text)?;
    match ended(&child)? {
        Exit::Signal(libc::SIGTERM) | Exit::Unknown => Ok(String::new()),
        exit => Err(format!("terminated, it ended with {exit}")),
    }
}

pub(crate) fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn panic() -> Result<String, String> {
    let child = Process::spawn(panic_on_purpose, ()).map_err(text)?;
    match ended(&child)? {
        Exit::Code(101) | Exit::Unknown => Ok(String::new()),
        exit => Err(format!("a panic ended with {exit}")),
    }
}

fn panic_on_purpose(_: ()) {
    panic!("on purpose");
}
