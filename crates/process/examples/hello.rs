//! A child that says its name, one that fails, and one that never ends by itself.

use multiproc_process::{Exit, Process, current_process, init};

fn greet(name: String) {
    println!("hello {name}, I am {}", current_process().name());
}

fn fail(_: ()) -> Result<(), String> {
    Err("as asked".into())
}

fn forever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = init();
    assert_eq!(Process::spawn(greet, "world".to_string())?.join()?, Exit::Code(0));
    assert_eq!(Process::spawn(fail, ())?.join()?, Exit::Code(1));
    // A daemon: it ends when main does.
    let daemon = Process::builder().name("watcher").daemon(true).spawn(forever, ())?;
    println!("{} runs: {}", daemon.name(), daemon.is_alive());
    Ok(())
}
