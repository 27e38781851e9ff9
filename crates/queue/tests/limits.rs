//! Refusals of the system, writes of a hostile peer, and forks give errors, and never a crash, a hang or a signal.

use multiproc_process::{Exit, Process};
use multiproc_queue::{GetError, JoinableQueue, OpenError, Overview, PutError, Queue};
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a test in a process of its own: limits are for a whole process.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

fn limit(resource: Resource, to: u64) {
    setrlimit(resource, Rlimit { current: Some(to), ..getrlimit(resource) }).unwrap();
}

/// Puts until there is no memory. Then everything put is there, and once it was got there is memory again.
fn fill_and_drain() {
    let q = Queue::<Vec<u8>>::unbounded().unwrap();
    let put = (0..1_000_000u32).find(|value| match q.try_put(value.to_ne_bytes().repeat(50)) {
        Ok(()) => false,
        Err(PutError::NoMemory(_)) => true,
        Err(error) => panic!("{error}"),
    });
    let put = put.expect("there is a limit");
    assert!(put > 1000, "{put}");
    for value in 0..put {
        assert_eq!(q.get().unwrap(), value.to_ne_bytes().repeat(50));
    }
    q.put(vec![1]).unwrap();
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_signal() {
    in_a_process(|()| {
        limit(Resource::Fsize, 0);
        let error = Queue::<u64>::unbounded().unwrap_err();
        assert!(matches!(error, OpenError::Create(_)), "{error}");
        limit(Resource::Fsize, 16 << 20);
        fill_and_drain();
    });
}

#[test]
fn a_limit_on_address_space_is_an_error_only_when_it_is_used_up() {
    in_a_process(|()| {
        let used = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
        limit(Resource::As, pages * 4096 + (32 << 20));
        fill_and_drain();
    });
}

#[test]
fn the_memory_of_a_burst_in_a_bounded_queue_goes_back_while_somebody_waits_and_can_be_used_again() {
    fn shared_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }
    in_a_process(|()| {
        let q = Queue::<Vec<u8>>::bounded(100).unwrap();
        let before = shared_kib();
        for len in [1 << 20, 10_000] {
            let put = (0..=99u8).map(|value| vec![value; len]);
            put.clone().for_each(|value| q.put(value).unwrap());
            assert!(shared_kib() - before >= 100 * (len as u64 >> 10));
            put.for_each(|value| assert!(q.get().unwrap() == value));
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| q.get_timeout(WATCHDOG).unwrap());
                let end = Instant::now() + WATCHDOG / 2;
                while shared_kib() - before >= 512 {
                    assert!(Instant::now() < end, "{} KiB stay", shared_kib() - before);
                    std::thread::yield_now();
                }
                q.put(vec![7; len]).unwrap();
                assert!(waiting.join().unwrap() == vec![7; len]);
            });
        }
    });
}

#[test]
fn a_thousand_unbounded_queues_fit_in_8_gib_of_addresses() {
    in_a_process(|()| {
        limit(Resource::Nofile, getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20));
        limit(Resource::As, 8 << 30);
        let queues: Vec<Queue<u64>> = (0..1000).map(|_| Queue::unbounded().unwrap()).collect();
        for (value, q) in queues.iter().enumerate() {
            q.put(value as u64).unwrap();
        }
        assert!(queues.iter().enumerate().all(|(value, q)| q.get().unwrap() == value as u64));
    });
}

#[test]
fn an_empty_queue_takes_little_memory_and_nothing_in_a_core_dump() {
    in_a_process(|()| {
        let pages = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let (mut resident, mut dumped, mut of_queue) = (0u64, 0u64, false);
            for line in smaps.lines() {
                let number = || line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
                if line.contains("memfd:") {
                    of_queue = true;
                } else if line.starts_with("Rss:") && of_queue {
                    resident += number();
                } else if let Some(flags) = line.strip_prefix("VmFlags:") {
                    dumped += u64::from(of_queue && !flags.split_whitespace().any(|flag| flag == "dd"));
                    of_queue = false;
                }
            }
            (resident, dumped)
        };
        let queues: Vec<Queue<u64>> = (0..10).map(|_| Queue::unbounded().unwrap()).collect();
        let (resident, dumped) = pages();
        assert!(resident / 10 < 256 && dumped == 0, "{resident} KiB in ten queues, {dumped} mappings in a dump");
        drop(queues);
    });
}

#[test]
fn no_descriptors_left_is_an_error() {
    in_a_process(|()| {
        let kept = Queue::<u64>::bounded(1).unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        for more in 0..3 {
            limit(Resource::Nofile, open - 1 + more);
            match Queue::<u64>::bounded(1) {
                // A queue works without a lock of its own: other processes tell by its process alone whether it lives.
                Ok(q) => q.put(1).unwrap(),
                Err(error) => assert!(matches!(error, OpenError::Create(_) | OpenError::Join { .. }), "{error}"),
            }
        }
        kept.put(1).unwrap();
        assert_eq!(kept.get().unwrap(), 1);
    });
}

/// Moves to a mount namespace of its own with a /dev/shm of 2 MiB; `None` where only root could.
fn small_file_system() -> Option<()> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // SAFETY: this process has one thread, and shares its mounts with nobody afterwards.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.ok()?;
    rustix::mount::mount_change("/", rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC)
        .ok()?;
    let size = std::ffi::CString::new("size=2m").ok()?;
    rustix::mount::mount("tmpfs", "/dev/shm", "tmpfs", rustix::mount::MountFlags::empty(), size.as_c_str()).ok()
}

#[test]
fn a_full_file_system_is_an_error_and_gets_go_on() {
    in_a_process(|()| {
        let Some(()) = small_file_system() else { return };
        let q = Queue::<Vec<u8>>::builder().bounded(10_000).named("full").build().unwrap();
        let mut put = 0u32;
        let error = loop {
            match q.try_put(vec![put as u8; 10_000]) {
                Ok(()) => put += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, PutError::NoMemory(_)) && put > 20, "{error:?} after {put}");
        for i in 0..put {
            assert_eq!(q.get().unwrap_or_else(|error| panic!("{i} of {put}: {error}"))[0], i as u8);
        }
        q.try_put(vec![1; 10_000]).unwrap();
    });
}

#[test]
fn what_waits_in_a_full_file_system_is_counted_and_got_and_then_the_queue_is_empty() {
    fn count_and_get(put: u64) {
        let q = Queue::<u64>::open("full").unwrap();
        let seen = Overview::open("full").unwrap();
        assert_eq!((q.len() as u64, seen.len() as u64, seen.gets(), seen.waiting().count() as u64), (put, put, 0, put));
        assert!((0..put).all(|value| q.try_get() == Ok(value)));
        assert!(matches!(q.try_get(), Err(GetError::Empty)) && q.is_empty() && q.is_empty());
        assert!(matches!(q.get_timeout(Duration::from_millis(20)), Err(GetError::Timeout)));
    }
    in_a_process(|()| {
        let Some(()) = small_file_system() else { return };
        let q = Queue::<u64>::builder().named("full").build().unwrap();
        let put = (0u64..).find(|value| q.try_put(*value).is_err()).unwrap();
        assert!(put > 10_000, "{put}");
        Process::spawn(count_and_get, put).unwrap().join().unwrap();
        for round in 0..3 {
            assert!(matches!(q.try_get(), Err(GetError::Empty)));
            q.put_timeout(round, Duration::from_secs(10)).unwrap();
            assert_eq!(q.get().unwrap(), round);
        }
        // A put that waits for memory goes on when there is some.
        while q.try_put(0).is_ok() {}
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| q.put_timeout(7, Duration::from_secs(30)));
            let mut last = 0;
            while last != 7 {
                last = q.get_timeout(Duration::from_secs(30)).unwrap();
            }
            waiting.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_bounded_queue_out_of_memory_says_so() {
    let q = Queue::<[u8; 9]>::builder().bounded(10_000).memory(64 << 10).max_message(16).build().unwrap();
    let put = (0..).take_while(|_| q.try_put([1; 9]).is_ok()).count();
    assert_eq!(put, 1024);
    assert!(matches!(q.try_put([1; 9]), Err(PutError::NoMemory([1, ..]))));
    assert!(matches!(q.put_timeout([1; 9], Duration::from_millis(50)), Err(PutError::NoMemory([1, ..]))));
    q.get().unwrap();
    q.try_put([1; 9]).unwrap();
}

#[test]
fn an_unbounded_queue_is_never_full_but_out_of_memory() {
    let q = Queue::<u64>::builder().memory(64 << 10).build().unwrap();
    let mut numbers = 0..;
    let refused = numbers.find_map(|number| q.try_put(number).err()).unwrap();
    assert!(matches!(refused, PutError::NoMemory(_)) && !q.is_full(), "{refused}");
    assert!(matches!(q.put_timeout(0, Duration::from_millis(50)), Err(PutError::NoMemory(0))));
    assert_eq!(q.try_iter().count() as u64, refused.into_inner());
    q.try_put(0).unwrap();
}

#[test]
fn a_put_that_is_refused_for_memory_takes_no_longer_the_more_messages_wait() {
    let shortest_refusal = |waiting: u64| {
        let q = Queue::<[u8; 30]>::builder().memory(waiting * 64).max_message(40).build().unwrap();
        while q.try_put([1; 30]).is_ok() {}
        let refusal = |_| {
            let begin = Instant::now();
            assert!(matches!(q.try_put([1; 30]), Err(PutError::NoMemory(_))));
            begin.elapsed()
        };
        let shortest = (0..100).map(refusal).min().unwrap();
        // What comes free is found at once.
        q.get().unwrap();
        q.try_put([1; 30]).unwrap();
        shortest
    };
    let (few, many) = (shortest_refusal(500), shortest_refusal(500_000));
    assert!(many < few * 50, "{few:?} for a few messages, {many:?} for a thousand times as many");
}

/// The queue's segment, as another process with the descriptor would map it.
fn map(q: &Queue<u64>) -> Segment {
    let mut parcel = pass::encode(q).unwrap();
    Segment::attach(parcel.descriptors.remove(0), Kind(*b"QUEU")).unwrap()
}

#[test]
fn rubbish_over_the_ring_is_an_error_that_names_the_queue() {
    let q = Queue::<u64>::builder().bounded(4).participants(1).build().unwrap();
    q.put(1).unwrap();
    let segment = map(&q);
    // The ring lies behind the fixed part: its ends, then its slots.
    let len = segment.region().len();
    let ring = segment.region().stretch(len..len + 4096, false).unwrap();
    let words = ring.bytes(256, 64).unwrap();
    let mut good = [0; 64];
    assert!(words.read(&mut good));
    assert!(words.write(&[0xee; 64]));
    let (put, got) = (q.try_put(1).unwrap_err(), q.try_get().unwrap_err());
    assert!(matches!(&put, PutError::Corrupt { queue, .. } if queue.contains("QUEU")), "{put:?}");
    assert!(matches!(&got, GetError::Corrupt { queue } if queue.contains("QUEU")), "{got:?}");
    let _ = (q.len(), q.is_empty(), q.is_full(), q.lost());
    assert!(words.write(&good));
    assert_eq!(q.get().unwrap(), 1);
}

fn scribble((q, until): (Queue<u64>, Queue<u64>)) {
    let segment = map(&q);
    let at = segment.content_at();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    while until.is_empty() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // Anywhere in the first pages of the content; flags, events, ends, slots, blocks.
        let word = at + (seed >> 32) as usize % (64 << 10) / 8 * 8;
        assert!(segment.region().bytes(word, 8).unwrap().write(&(seed % 4096).to_le_bytes()));
    }
}

fn use_what_others_scribble_on((q, until): (Queue<u64>, Queue<u64>)) {
    while until.is_empty() {
        let _ = (q.try_put(1), q.try_get(), q.put_timeout(2, Duration::from_micros(100)));
        let _ = (q.get_timeout(Duration::from_micros(100)), q.len(), q.is_empty(), q.is_full());
    }
}

#[test]
fn users_of_a_queue_that_someone_scribbles_on_live_on() {
    let until = Queue::bounded(1).unwrap();
    let q = Queue::<u64>::builder().bounded(16).memory(1 << 20).max_message(100).build().unwrap();
    let users: Vec<_> =
        (0..3).map(|_| Process::spawn(use_what_others_scribble_on, (q.clone(), until.clone())).unwrap()).collect();
    let scribbler = Process::spawn(scribble, (q, until.clone())).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    until.put(0).unwrap();
    for process in users.into_iter().chain([scribbler]) {
        assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)), "{}", process.name());
    }
}

/// Runs `child` in a forked copy of this process, which must have one thread; returns its exit status.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: this process has one thread, so the copy may do anything; it ends without unwinding into what it copied.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: ends the process at once, without running what the parent will run.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for our own child; `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            libc::WEXITSTATUS(status)
        }
    }
}

#[test]
fn a_forked_copy_joins_as_itself_and_its_parent_stays_alive_to_it() {
    in_a_process(|()| {
        let q = JoinableQueue::<u64>::unbounded().unwrap();
        q.put_many([1, 2]).unwrap();
        assert_eq!(q.get().unwrap(), 1);
        let code = fork(|| {
            // The value that the living parent has in hand does not come to the copy: 2 comes, and then nothing.
            let (got, nothing) = (q.get(), q.get_timeout(Duration::from_millis(200)));
            let refused = q.task_done().is_ok() && q.task_done().is_err();
            i32::from(!(matches!(got, Ok(2)) && matches!(nothing, Err(GetError::Timeout)) && refused))
        });
        assert_eq!(code, 0);
        q.task_done().unwrap();
        q.join().unwrap();
    });
}

#[test]
fn a_forked_copy_writes_into_no_loan_and_reads_no_borrowed_message() {
    in_a_process(|()| {
        let q = Queue::<u32>::bounded(2).unwrap();
        let loan = q.loan(2).unwrap();
        assert!(loan.copy_from(0, &[1, 1]));
        assert_eq!(fork(|| i32::from(loan.copy_from(0, &[666, 666]) || loan.set(1, 666))), 0);
        loan.send().unwrap();
        let borrowed = q.borrow().unwrap();
        assert_eq!(borrowed.to_vec(), [1, 1]);
        assert_eq!(fork(|| i32::from(borrowed.get(0).is_some() || !borrowed.to_vec().is_empty())), 0);
    });
}

#[test]
fn a_forked_copy_without_a_place_gets_an_error() {
    in_a_process(|()| {
        let q = Queue::<u64>::builder().bounded(1).participants(1).build().unwrap();
        let code = fork(|| {
            let (put, got) = (q.try_put(1), q.try_get());
            i32::from(!(matches!(put, Err(PutError::Forked { value: 1, .. })) && matches!(got, Err(GetError::Forked { .. }))))
        });
        assert_eq!(code, 0);
        q.put(1).unwrap();
    });
}

fn hold_by_name((name, ready): (String, Queue<()>)) {
    let _q = Queue::<u64>::open(&name).unwrap();
    ready.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_table_full_of_the_dead_has_room_for_the_next_one() {
    let ready = Queue::bounded(1).unwrap();
    let name = format!("limits-dead-{}", std::process::id());
    drop(Queue::<u64>::builder().bounded(4).participants(2).named(&name).build().unwrap());
    for _ in 0..5 {
        // The dead have both places, and no process is left to look for them.
        let pair = [(); 2].map(|()| Process::spawn(hold_by_name, (name.clone(), ready.clone())).unwrap());
        for _ in &pair {
            ready.get_timeout(WATCHDOG).unwrap();
        }
        for process in pair {
            process.kill().unwrap();
            process.join().unwrap();
        }
    }
    let q = Queue::<u64>::open(&name).unwrap();
    q.put(1).unwrap();
    multiproc_queue::remove_queue(&name).unwrap();
}
