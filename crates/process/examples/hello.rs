//! Four children: the first says its name, the second fails, the third writes to a file, the fourth is a daemon.

use multiproc_process::{Exit, Process, current_process, init};
use std::io::{Read, Seek};

fn greet(name: String) {
    println!("hello {name}, I am {}", current_process().name());
}

fn fail() -> Result<(), String> {
    Err("as asked".into())
}

fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = init();
    assert_eq!(Process::spawn(greet, "world".into())?.join()?, Exit::Code(0));
    assert_eq!(Process::spawn(fail, ())?.join()?.code(), Some(1));
    let mut output = tempfile::tempfile()?;
    Process::builder().stdout(output.try_clone()?).spawn(greet, "file".into())?.join()?;
    let mut text = String::new();
    output.rewind()?;
    output.read_to_string(&mut text)?;
    print!("in a file: {text}");
    // A daemon: it ends when main does.
    let daemon = Process::builder().name("watcher").daemon(true).spawn(forever, ())?;
    println!("{} runs: {}", daemon.name(), daemon.is_alive());
    Ok(())
}
