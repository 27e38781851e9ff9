//! Deaths are noticed within 100 ms: one or many at once, asleep or under load, and also when the lookouts are killed, stopped or
//! gone.

use multiproc_process::{Exit, Process};
use multiproc_queue::{Builder, JoinableQueue, Queue};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);
/// The promise is 100 ms; the rest is for a machine that is busy with other tests.
const SOON: Duration = Duration::from_millis(400);

/// Runs a test that changes its whole process in a process of its own.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

/// Starts a process that ends with this one, even if the test fails.
fn start<A: serde::Serialize + serde::de::DeserializeOwned + 'static>(work: fn(A), args: A) -> Process {
    Process::builder().daemon(true).spawn(work, args).unwrap()
}

fn until(what: &str, done: impl FnMut() -> bool) {
    within(WATCHDOG, what, done);
}

fn within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < limit, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process sleeps without looking around, because one of its threads keeps watch.
fn rests(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).any(|name| name.trim() == "multiproc-watch")
}

/// Whether a process is a lookout: it listens for ends.
fn is_lookout(pid: u32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|path| path.to_string_lossy().contains("inotify"))
}

fn signal(process: &Process, signal: i32) {
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(process.pid() as i32, signal) }, 0);
}

type Handles = (JoinableQueue<u64>, Queue<(u32, u64)>);

/// Gets one value, reports it, and keeps it in hand for ever.
fn hold((jobs, got): Handles) {
    let value = jobs.get().unwrap();
    got.put((std::process::id(), value)).unwrap();
    loop {
        std::thread::park();
    }
}

fn new_queues() -> Handles {
    (
        Builder::<JoinableQueue<u64>>::bounded(JoinableQueue::builder(), 8).memory(1 << 20).max_message(64).build().unwrap(),
        Queue::bounded(8).unwrap(),
    )
}

/// Makes a holder of the value 7 and a number of processes that sleep in `get`.
fn holder_and_sleepers((jobs, got): &Handles, sleepers: usize) -> (Process, Vec<Process>) {
    jobs.put(7).unwrap();
    let holder = start(hold, (jobs.clone(), got.clone()));
    assert_eq!(got.get_timeout(WATCHDOG).unwrap(), (holder.pid(), 7));
    let sleepers: Vec<_> = (0..sleepers).map(|_| start(hold, (jobs.clone(), got.clone()))).collect();
    for process in &sleepers {
        until("sleep", || rests(process.pid()));
    }
    until("two lookouts", || sleepers.iter().filter(|process| is_lookout(process.pid())).count() == sleepers.len().min(2));
    (holder, sleepers)
}

/// Checks that the value of the dead soon comes to one of the processes that are left.
fn comes_soon((_, got): &Handles, killed: Instant) -> u32 {
    let (pid, value) = got.get_timeout(WATCHDOG).unwrap();
    let after = killed.elapsed();
    println!("after {after:?}");
    assert_eq!(value, 7);
    assert!(after < SOON, "{after:?}");
    pid
}

fn end(processes: Vec<Process>) {
    for process in processes {
        let _ = process.kill();
        process.join().unwrap();
    }
}

fn all_die_but_one(sleepers: usize) {
    let queues = new_queues();
    let (holder, mut others) = holder_and_sleepers(&queues, sleepers);
    let last = others.pop().unwrap();
    holder.kill().unwrap();
    others.iter().for_each(|process| process.kill().unwrap());
    let killed = Instant::now();
    // A process that was killed after the holder may have held the value for a moment.
    while comes_soon(&queues, killed) != last.pid() {}
    others.extend([holder, last]);
    end(others);
}

#[test]
fn the_last_of_twenty_sleepers_gets_the_value_of_a_holder_that_died_with_all_others() {
    all_die_but_one(20);
}

#[test]
fn the_last_of_a_hundred_sleepers_gets_the_value_of_a_holder_that_died_with_all_others() {
    all_die_but_one(100);
}

#[test]
fn a_stopped_lookout_keeps_nobody_from_what_the_dead_left() {
    let queues = new_queues();
    let (holder, mut others) = holder_and_sleepers(&queues, 4);
    let stopped = others.iter().find(|process| is_lookout(process.pid())).unwrap();
    let stopped_pid = stopped.pid();
    signal(stopped, libc::SIGSTOP);
    holder.kill().unwrap();
    assert_ne!(comes_soon(&queues, Instant::now()), stopped_pid);
    others.push(holder);
    end(others);
}

#[test]
fn both_lookouts_stopped_keep_nobody_from_what_the_dead_left() {
    let queues = new_queues();
    let (holder, others) = holder_and_sleepers(&queues, 6);
    let (lookouts, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| is_lookout(process.pid()));
    lookouts.iter().for_each(|process| signal(process, libc::SIGSTOP));
    holder.kill().unwrap();
    let killed = Instant::now();
    let (pid, value) = queues.1.get_timeout(WATCHDOG).unwrap();
    assert_eq!(value, 7);
    assert!(others.iter().any(|process| process.pid() == pid));
    // The four that are left look now and then, one after another.
    println!("after {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    others.push(holder);
    others.extend(lookouts);
    end(others);
}

#[test]
fn when_both_lookouts_die_others_become_lookouts_and_notice_later_deaths() {
    let queues = new_queues();
    let (holder, others) = holder_and_sleepers(&queues, 6);
    let (lookouts, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| is_lookout(process.pid()));
    lookouts.iter().for_each(|process| process.kill().unwrap());
    within(Duration::from_secs(3), "two lookouts", || others.iter().filter(|process| is_lookout(process.pid())).count() == 2);
    holder.kill().unwrap();
    comes_soon(&queues, Instant::now());
    others.push(holder);
    others.extend(lookouts);
    end(others);
}

type Told = (JoinableQueue<u64>, Queue<(u32, u64)>, Queue<()>);

/// Becomes a lookout by waiting in vain. Drops the queue when it is told to, but lives on.
fn look_out_and_leave((jobs, got, go): Told) {
    until("being a lookout", || jobs.get_timeout(Duration::from_millis(100)).is_err() && is_lookout(std::process::id()));
    got.put((std::process::id(), 0)).unwrap();
    go.get().unwrap();
    drop(jobs);
    got.put((std::process::id(), 1)).unwrap();
    loop {
        std::thread::park();
    }
}

/// Does the same, then becomes another program.
fn look_out_and_exec((jobs, got, go): Told) {
    until("being a lookout", || jobs.get_timeout(Duration::from_millis(100)).is_err() && is_lookout(std::process::id()));
    got.put((std::process::id(), 0)).unwrap();
    go.get().unwrap();
    use std::os::unix::process::CommandExt;
    panic!("{}", std::process::Command::new("sleep").arg("60").exec());
}

fn lookouts_go(lookout: fn(Told), how_many: usize, say: bool) {
    let (queues, go) = (new_queues(), Queue::bounded(2).unwrap());
    let handles = || (queues.0.clone(), queues.1.clone(), go.clone());
    let lookouts: Vec<_> = (0..how_many).map(|_| start(lookout, handles())).collect();
    for _ in 0..how_many {
        assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap().1, 0);
    }
    queues.0.put(7).unwrap();
    let holder = start(hold, queues.clone());
    assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap(), (holder.pid(), 7));
    let mut others: Vec<_> = (0..3).map(|_| start(hold, queues.clone())).collect();
    others.iter().for_each(|process| until("sleep", || rests(process.pid())));
    for _ in 0..how_many {
        go.put(()).unwrap();
        if say {
            assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap().1, 1);
        }
    }
    // Much sooner than a sleeper wakes up by itself.
    within(Duration::from_secs(3), "two lookouts", || others.iter().filter(|process| is_lookout(process.pid())).count() == 2);
    holder.kill().unwrap();
    comes_soon(&queues, Instant::now());
    others.push(holder);
    others.extend(lookouts);
    end(others);
}

#[test]
fn lookouts_that_let_go_of_the_queue_hand_over() {
    lookouts_go(look_out_and_leave, 2, true);
}

#[test]
fn a_lookout_that_becomes_another_program_is_replaced() {
    lookouts_go(look_out_and_exec, 1, false);
}

#[test]
fn where_the_kernel_tells_nobody_sleepers_look_for_themselves() {
    in_a_process(|()| {
        // In a user namespace of our own we may set its limits.
        // SAFETY: this process has one thread.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }.is_err() {
            println!("skipped: not allowed to make a user namespace");
            return;
        }
        let uid = format!("0 {} 1", 0);
        if std::fs::write("/proc/self/uid_map", uid).is_err()
            || std::fs::write("/proc/sys/user/max_inotify_instances", "0").is_err()
        {
            println!("skipped: not allowed to set limits");
            return;
        }
        let queues = new_queues();
        queues.0.put(7).unwrap();
        let spawn = || start(hold, queues.clone());
        let holder = spawn();
        assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap(), (holder.pid(), 7));
        let mut others: Vec<_> = (0..3).map(|_| spawn()).collect();
        // They tried to keep watch, and could not.
        others.iter().for_each(|process| until("sleep", || rests(process.pid())));
        assert!(!others.iter().any(|process| is_lookout(process.pid())));
        let last = others.pop().unwrap();
        holder.kill().unwrap();
        others.iter().for_each(|process| process.kill().unwrap());
        assert_eq!(comes_soon(&queues, Instant::now()), last.pid());
        others.extend([holder, last]);
        end(others);
    });
}

fn work((jobs, got): Handles) {
    while let Ok(value) = jobs.get() {
        if value == 7 {
            got.put((std::process::id(), value)).unwrap();
        }
        jobs.task_done().unwrap();
    }
}

/// Reports once it runs at full speed.
fn feed((jobs, got): Handles) {
    for _ in 0..1000 {
        jobs.put(1).unwrap();
    }
    got.put((std::process::id(), 1)).unwrap();
    while jobs.put(1).is_ok() {}
}

#[test]
fn under_full_load_the_job_of_a_dead_worker_comes_back_soon() {
    let queues = new_queues();
    queues.0.put(7).unwrap();
    let holder = start(hold, queues.clone());
    assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap(), (holder.pid(), 7));
    // No process is ever idle long enough to keep watch.
    let mut others: Vec<_> = (0..3).map(|_| start(feed, queues.clone())).collect();
    others.push(start(work, queues.clone()));
    for _ in 0..3 {
        assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap().1, 1);
    }
    holder.kill().unwrap();
    comes_soon(&queues, Instant::now());
    others.push(holder);
    end(others);
}

#[test]
fn a_get_that_starts_takes_what_the_dead_left_before_new_values() {
    let queues = new_queues();
    queues.0.put_many([7, 8]).unwrap();
    let holder = start(hold, queues.clone());
    assert_eq!(queues.1.get_timeout(WATCHDOG).unwrap(), (holder.pid(), 7));
    holder.kill().unwrap();
    // Lets its descriptors be closed, and the time pass within which no process looks twice.
    holder.join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(queues.0.try_get().unwrap(), 7);
    assert_eq!(queues.0.try_get().unwrap(), 8);
}

/// The voluntary context switches of all threads of a process: how often it went to sleep.
fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let status = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let count =
        |status: String| status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok());
    status.filter_map(count).map(|count: u64| count).sum()
}

fn get_for_ever(q: Queue<u64>) {
    let _ = q.get();
}

#[test]
fn processes_that_come_and_go_wake_hardly_anybody() {
    let name = format!("deaths-{}", std::process::id());
    let q: Queue<u64> = Queue::builder().bounded(4).memory(1 << 20).max_message(64).named(&name).build().unwrap();
    let idle: Vec<_> = (0..50).map(|_| start(get_for_ever, q.clone())).collect();
    idle.iter().for_each(|process| until("sleep", || rests(process.pid())));
    std::thread::sleep(Duration::from_millis(300));
    let total = || idle.iter().map(|process| sleeps(process.pid())).sum::<u64>();
    let before = total();
    for _ in 0..100 {
        drop(Queue::<u64>::open(&name).unwrap());
    }
    std::thread::sleep(Duration::from_millis(300));
    let woken = total() - before;
    println!("{woken} wake-ups");
    multiproc_queue::remove_queue(&name).unwrap();
    end(idle);
    assert!(woken < 150, "{woken} wake-ups of 50 idle processes by 100 that came and went");
}

#[test]
fn idle_processes_hardly_wake_up() {
    let q: Queue<u64> = Queue::bounded(4).unwrap();
    let idle: Vec<_> = (0..16).map(|_| start(get_for_ever, q.clone())).collect();
    idle.iter().for_each(|process| until("sleep", || rests(process.pid())));
    std::thread::sleep(Duration::from_millis(500));
    let total = || idle.iter().map(|process| sleeps(process.pid())).sum::<u64>();
    let before = total();
    std::thread::sleep(Duration::from_secs(3));
    let woken = total() - before;
    end(idle);
    // All together look four times a second.
    assert!(woken <= 24, "{woken} wake-ups");
}
