//! What `init()` changes. One test alone in its program, because a new process runs that program's `main` again.

use multiproc_process::{Exit, Process, SpawnErrorKind, init};

fn answer(code: i32) {
    std::process::exit(code);
}

/// The parent calls `init`; so its children are expected to, and run their function there.
#[test]
fn a_main_that_forgets_init_in_the_child_is_the_callers_error() {
    let is_child = std::env::var_os("MULTIPROC_PARENT").is_some();
    if is_child && std::env::var_os("FORGET").is_some() {
        // Starting further processes here would go on for ever.
        let refused = Process::spawn(answer, 1).unwrap_err();
        std::process::exit(if *refused.kind() == SpawnErrorKind::BeforeInit { 42 } else { 43 });
    }
    let _main = init();
    assert!(!is_child, "init() does not return in a new process");
    let process = Process::spawn(answer, 7).unwrap();
    assert_eq!(process.join().unwrap(), Exit::Code(7));

    // SAFETY: this program has one test, and no other thread reads the environment now.
    unsafe { std::env::set_var("FORGET", "1") };
    let error = Process::spawn(answer, 7).unwrap_err();
    assert!(*error.kind() == SpawnErrorKind::EndedEarly { exit: Exit::Code(42) }, "{error}");
    assert!(error.to_string().contains("multiproc::init()"));
}
