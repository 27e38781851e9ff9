//! A pipe between two threads: values, bytes, and the end.

use multiproc_pipe::{RecvError, pipe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = pipe::<String>()?;
    let echo = std::thread::spawn(move || {
        while let Ok(text) = theirs.recv() {
            if theirs.send(&text.to_uppercase()).is_err() {
                break;
            }
        }
    });
    for word in ["hello", "world"] {
        ours.send(word)?;
        println!("{}", ours.recv()?);
    }
    assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
    drop(ours);
    echo.join().map_err(|_| "the echo panicked")?;
    Ok(())
}
